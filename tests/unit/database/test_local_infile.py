"""A hostile server gets the rows that it was promised, and nothing else, whenever it asks."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pymysql
import pytest
from pymysql.cursors import SSCursor

from lcp_backup.database.local_infile import LoadedRows, LoadingConnection

_GREETING = (
    b"\x0a9.9.9-hostile\0"
    + struct.pack("<I", 1)
    + b"salt salt"[:8]
    + b"\0"
    # Everything but TLS and compression; autocommit is on.
    + struct.pack("<HBHH", 0xF7DF, 45, 2, 0x00FF)
    + bytes([21])
    + bytes(10)
    + b"salt salt sa\0"
    + b"mysql_native_password\0"
)
_LOAD = b"LOAD DATA LOCAL INFILE 'rows' INTO TABLE t"


def ok(rows: int = 0, warnings: int = 0, *, more: bool = False) -> bytes:
    return bytes([0, rows, 0]) + struct.pack("<HH", 2 | (8 if more else 0), warnings)


def asks_for(name: str) -> bytes:
    return b"\xfb" + name.encode()


def error(text: str) -> bytes:
    return b"\xff" + struct.pack("<H", 1148) + b"#42000" + text.encode()


class HostileServer:
    """Speaks just enough of the protocol; after login it answers every command as it was told.

    `answers` are the packets by which it answers a statement; after each request for a file it
    reads one, to the empty packet.
    """

    def __init__(self) -> None:
        self.statements: list[bytes] = []
        self.files: list[list[bytes]] = []
        """The packets of each file that came; the empty one ends it."""
        self.answers: dict[bytes, Sequence[bytes]] = {}
        self.login: bytes = ok()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def connect(self, *, local_infile: bool = True) -> LoadingConnection:
        return LoadingConnection(
            host="127.0.0.1",
            port=self.port,
            user="x",
            password="x",
            charset="utf8mb4",
            local_infile=local_infile,
            connect_timeout=20,
            read_timeout=20,
        )

    def close(self) -> None:
        self._listener.close()
        self._thread.join(20)

    def _serve(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        with peer, peer.makefile("rb") as incoming:
            sequence = 0

            def send(payload: bytes) -> None:
                nonlocal sequence
                peer.sendall(len(payload).to_bytes(3, "little") + bytes([sequence]) + payload)
                sequence = (sequence + 1) % 256

            def receive() -> bytes | None:
                nonlocal sequence
                try:
                    head = incoming.read(4)
                except ConnectionResetError:
                    return None
                if len(head) < 4:
                    return None
                sequence = (head[3] + 1) % 256
                return incoming.read(int.from_bytes(head[:3], "little"))

            send(_GREETING)
            receive()
            send(self.login)
            while (command := receive()) is not None:
                self.statements.append(command[1:])
                for answer in self.answers.get(command[1:], [ok()]):
                    try:
                        send(answer)
                    except OSError:
                        return
                    if answer[:1] == b"\xfb":
                        self.files.append([])
                        while (packet := receive()) is not None:
                            self.files[-1].append(packet)
                            if not packet:
                                break


@pytest.fixture
def server() -> Iterator[HostileServer]:
    """A hostile server that waits for one connection."""
    with closing(HostileServer()) as running:
        yield running


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file that every process may read."""
    path = tmp_path / "secret"
    path.write_text("root:x:0:0")
    return str(path)


def load(connection: LoadingConnection, rows: bytes = b"(1)") -> LoadedRows:
    return connection.load_rows(_LOAD, memoryview(rows))


def test_the_rows_travel_whatever_file_is_asked_for(server: HostileServer, secret: str) -> None:
    server.answers[_LOAD] = [asks_for(secret), ok(3, 2)]
    with closing(server.connect()) as connection:
        assert load(connection, b"(1),(2),(3)") == LoadedRows(rows=3, warnings=2)
        assert connection.open
    assert server.files == [[b"(1),(2),(3)", b""]]


@pytest.mark.parametrize("size", [0, 1, 512 * 1024, 512 * 1024 + 1, 40 * 1024 * 1024])
def test_rows_arrive_whole_in_packets_that_every_server_takes(
    server: HostileServer, size: int
) -> None:
    rows = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    server.answers[_LOAD] = [asks_for("rows"), ok(1)]
    with closing(server.connect()) as connection:
        assert load(connection, rows).rows == 1
    (file,) = server.files
    assert b"".join(file) == rows
    assert all(0 < len(packet) < 1024 * 1024 for packet in file[:-1])
    assert not file[-1]


def _query(connection: LoadingConnection) -> object:
    return connection.query("SELECT 1")


def _unbuffered(connection: LoadingConnection) -> object:
    with connection.cursor(SSCursor) as cursor:
        return cursor.execute("SELECT 1")


@pytest.mark.parametrize("local_infile", [True, False])
@pytest.mark.parametrize("ask", [_query, _unbuffered])
def test_no_file_leaves_during_another_statement(
    server: HostileServer,
    secret: str,
    ask: Callable[[LoadingConnection], object],
    local_infile: bool,
) -> None:
    server.answers[b"SELECT 1"] = [asks_for(secret), ok()]
    with closing(server.connect(local_infile=local_infile)) as connection:
        with pytest.raises(pymysql.OperationalError, match="asked for a local file"):
            ask(connection)
        assert not connection.open
    server.close()
    assert server.files == [[b""]]


def test_rows_are_sent_once(server: HostileServer, secret: str) -> None:
    server.answers[_LOAD] = [asks_for("rows"), asks_for(secret), ok()]
    with closing(server.connect()) as connection:
        with pytest.raises(pymysql.OperationalError, match="what became of the rows"):
            load(connection)
        assert not connection.open
    server.close()
    assert server.files == [[b"(1)", b""], []]


def test_rows_of_one_statement_are_not_there_for_the_next(
    server: HostileServer, secret: str
) -> None:
    server.answers[_LOAD] = [error("no such table")]
    server.answers[b"SELECT 1"] = [asks_for(secret)]
    with closing(server.connect()) as connection:
        with pytest.raises(pymysql.MySQLError, match="no such table"):
            load(connection)
        with pytest.raises(pymysql.OperationalError, match="asked for a local file"):
            connection.query("SELECT 1")
    server.close()
    assert server.files == [[b""]]


def test_nothing_is_there_for_a_further_result(server: HostileServer, secret: str) -> None:
    server.answers[_LOAD] = [asks_for("rows"), ok(1, more=True), asks_for(secret)]
    with closing(server.connect()) as connection:
        assert load(connection).rows == 1
        with pytest.raises(pymysql.OperationalError, match="asked for a local file"):
            connection.query("SELECT 1")
        assert not connection.open
    server.close()
    assert server.files == [[b"(1)", b""], [b""]]


def test_nothing_is_there_at_login(server: HostileServer, secret: str) -> None:
    server.login = asks_for(secret)
    with pytest.raises(pymysql.OperationalError):
        server.connect()
    server.close()
    assert not server.statements
    assert not server.files


def test_rows_that_a_server_says_it_has_without_reading_them_are_an_error(
    server: HostileServer,
) -> None:
    server.answers[_LOAD] = [ok(1)]
    with closing(server.connect()) as connection:
        with pytest.raises(pymysql.OperationalError, match="did not ask for the rows"):
            load(connection)
        assert not connection.open


def test_after_an_error_of_the_rows_the_connection_goes_on(server: HostileServer) -> None:
    server.answers[_LOAD] = [asks_for("rows"), error("Invalid JSON text")]
    with closing(server.connect()) as connection:
        with pytest.raises(pymysql.MySQLError, match="Invalid JSON text"):
            load(connection)
        assert connection.query("SELECT 1") == 0
    assert server.files == [[b"(1)", b""]]
