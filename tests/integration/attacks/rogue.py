"""A server that asks for files: a proxy before a real one, which answers some queries itself.

Whoever speaks MySQL's protocol may be asked by the server for a local file in answer to any query
(`LOAD DATA LOCAL` and its request, the byte 0xFB and a file's name). A client that answers whatever
is asked gives its secrets to a server that is not what it seems.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_QUERY: Final = 3
_REQUEST: Final = b"\xfb"
_REFUSED: Final = b"\xff\x51\x04#42000refused"
"""Error 1105."""


@dataclass
class Rogue:
    """What the proxy listens on, and what clients told it."""

    port: int
    asked: list[bytes] = field(default_factory=list)
    """The queries that were answered by asking for the file."""
    given: bytes = b""
    """What clients sent for it."""


@contextmanager
def rogue_server(port: int, path: str, chosen: Callable[[bytes], bool]) -> Iterator[Rogue]:
    """A proxy to the server at `port` that asks for `path` in answer to the queries `chosen`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        rogue = Rogue(listener.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection(("127.0.0.1", port))
                    for work in (_pump, _listen):
                        arguments = (server, client, rogue, path, chosen)
                        threading.Thread(target=work, args=arguments, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield rogue
        listener.shutdown(socket.SHUT_RDWR)


def _pump(server: socket.socket, client: socket.socket, *_rest: object) -> None:
    """All that the real server says."""
    with suppress(OSError), closing(server):
        while data := server.recv(65536):
            client.sendall(data)
        client.shutdown(socket.SHUT_RDWR)


def _listen(
    server: socket.socket,
    client: socket.socket,
    rogue: Rogue,
    path: str,
    chosen: Callable[[bytes], bool],
) -> None:
    """All that the client says, a packet at a time."""
    with suppress(OSError, EOFError), closing(client), _hung_up(server):
        while True:
            head, body = _packet(client)
            command = head[3] == 0 and body[:1] == bytes([_QUERY])
            if not (command and chosen(body[1:])):
                server.sendall(head + body)
                continue
            rogue.asked.append(body[1:])
            _send(client, 1, _REQUEST + path.encode())
            rogue.given += _given(client)


def _given(client: socket.socket) -> bytes:
    """What a client sends for a file, up to the empty packet that ends it."""
    given = b""
    while True:
        head, body = _packet(client)
        if head[3] == 0:
            # No file, but its next command: this client does not play along.
            _send(client, 1, _REFUSED)
            return given
        given += body
        if not body:
            _send(client, head[3] + 1, _REFUSED)
            return given


@contextmanager
def _hung_up(server: socket.socket) -> Iterator[None]:
    """The real server hears at the end that the client is gone: it would keep its locks."""
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)


def _packet(connection: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(connection, 4)
    return head, _exactly(connection, int.from_bytes(head[:3], "little"))


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def _send(connection: socket.socket, number: int, body: bytes) -> None:
    connection.sendall(len(body).to_bytes(3, "little") + bytes([number % 256]) + body)
