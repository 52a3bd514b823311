"""Servers that a connection never comes about with: each is told in a sentence, in time."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from lcp_backup.database import endpoint
from lcp_backup.database.endpoint import DatabaseEndpoint, connect
from lcp_backup.errors import DatabaseUnreachable
from lcp_backup.setting_values import DatabaseTls


@contextmanager
def answering(talk: Callable[[socket.socket], None]) -> Iterator[DatabaseEndpoint]:
    """A server that says what `talk` says to the first who comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            visitor, _ = server.accept()
            with visitor:
                talk(visitor)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        yield DatabaseEndpoint(
            "127.0.0.1", port, "ann", SecretStr("secret"), "site", DatabaseTls.DISABLED
        )
        thread.join(10)


def packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def greeting() -> bytes:
    """Source: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html"""
    capabilities = (0x000FA68D).to_bytes(4, "little")
    return packet(
        0,
        b"\x0a10.11.6-MariaDB\0" + (7).to_bytes(4, "little") + b"saltsalt\0" + capabilities[:2]
        + b"\x2d" + b"\x02\0" + capabilities[2:] + b"\x15" + bytes(10) + b"saltsaltsalt\0"
        + b"mysql_native_password\0",
    )  # fmt: skip


def test_a_server_that_is_silent_is_not_waited_for_until_the_run_times_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint, "_LOGIN_TIMEOUT_SECONDS", 0.2)
    done = threading.Event()

    def wait(_visitor: socket.socket) -> None:
        done.wait(10)

    with answering(wait) as silent:
        with pytest.raises(DatabaseUnreachable, match="does not answer as expected .*timed out"):
            connect(silent, database=None)
        done.set()


def test_a_plugin_that_is_not_in_the_layer_is_told_by_the_way_out() -> None:
    def talk(visitor: socket.socket) -> None:
        visitor.sendall(greeting())
        visitor.recv(1000)
        visitor.sendall(packet(2, b"\xfeclient_ed25519\0" + bytes(32)))
        visitor.recv(1000)

    with (
        answering(talk) as server,
        pytest.raises(DatabaseUnreachable, match=r"ed25519.*caching_sha2_password"),
    ):
        connect(server, database=None)
