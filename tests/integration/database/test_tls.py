"""TLS with real servers, by PyMySQL and by each maker's dump program: what works, what is refused.

The servers listen at 127.0.0.2 too: at 127.0.0.1, MariaDB's newer programs check nothing. A MariaDB
program of the other kind than the installed one (which from 11.4 on verify unasked) comes from
another suite of this machine's Debian mirror; where there is none, its tests are skipped.
"""

import os
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import client_layer
import pytest
from pydantic import SecretStr

from lcp_backup.database.dump import start_dump
from lcp_backup.database.dump_program import DumpProgram, find_program
from lcp_backup.database.endpoint import (
    DatabaseEndpoint,
    Flavour,
    Server,
    ask_server,
    connect,
)
from lcp_backup.errors import DatabaseUnreachable, DumpFailed
from lcp_backup.setting_values import DatabaseTls
from tests.support.certificates import AUTHORITY, CERTIFICATES, FOREIGN, HOST, Issued
from tests.support.servers import FLAVOURS, MYSQL_DIR, DatabaseServer, running_server

PASSWORD = "S3cret-of-the-test"
_PROJECT = Path(__file__).parents[3]
_NATIVE = "arm64" if os.uname().machine == "aarch64" else "x86_64"
_SUITES = {"10.11": "bookworm", "11.8": "trixie"}
_PROGRAMS = ["10.11", "11.8", *(["mysql"] if MYSQL_DIR else [])]


# --- servers ------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A server at 127.0.0.2 with a schema, and two accounts: one may come without TLS."""

    server: DatabaseServer
    folder: Path
    """Where its certificate lies."""

    @property
    def flavour(self) -> Flavour:
        return self.server.flavour

    def endpoint(
        self, tls: DatabaseTls, *, encrypted: bool = False, ca: Issued = AUTHORITY
    ) -> DatabaseEndpoint:
        """The schema, as an account that the server lets in only with TLS when `encrypted`."""
        endpoint = self.server.endpoint(
            "site", user="only_tls" if encrypted else "any", password=PASSWORD, host=HOST
        )
        return replace(endpoint, tls=tls, ca=ca.pem)

    def forget_logins(self) -> None:
        """MySQL then wants whole passwords again, not only the hash that it has seen before."""
        self.server.execute("FLUSH PRIVILEGES")

    @contextmanager
    def presenting(self, kind: str) -> Iterator[None]:
        """Another certificate, for connections that come now."""
        try:
            self._present(CERTIFICATES[kind], FOREIGN if "authority" in kind else AUTHORITY)
            yield
        finally:
            self._present(CERTIFICATES["good"], AUTHORITY)

    @contextmanager
    def demanding(self) -> Iterator[None]:
        """No connection without TLS."""
        self.server.execute("SET GLOBAL require_secure_transport = ON")
        try:
            yield
        finally:
            self.server.execute("SET GLOBAL require_secure_transport = OFF")

    def _present(self, certificate: Issued, authority: Issued) -> None:
        certificate.write(self.folder)
        (self.folder / "ca.pem").write_text(authority.pem)
        reload = {Flavour.MARIADB: "FLUSH SSL", Flavour.MYSQL: "ALTER INSTANCE RELOAD TLS"}
        self.server.execute(reload[self.flavour])


@contextmanager
def _site(flavour: Flavour, folder: Path, *options: str) -> Iterator[Site]:
    with running_server(flavour, folder, f"--bind-address=127.0.0.1,{HOST}", *options) as server:
        server.execute("CREATE DATABASE site")
        server.load(b"CREATE TABLE T (a TEXT); INSERT INTO T VALUES ('kept in mind')", "site")
        for user, demands in (("any", ""), ("only_tls", "REQUIRE SSL")):
            server.execute(f"CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}' {demands}")
            server.execute(f"GRANT ALL ON *.* TO {user}@'%'")
        yield Site(server, folder)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[Flavour, bool], Site]]:
    """Of each flavour a server with TLS and one without."""
    with ExitStack() as running:
        made: dict[tuple[Flavour, bool], Site] = {}
        for flavour in FLAVOURS:
            folder = tmp_path_factory.mktemp("tls")
            CERTIFICATES["good"].write(folder)
            (folder / "ca.pem").write_text(AUTHORITY.pem)
            with_tls = (
                f"--ssl-ca={folder / 'ca.pem'}",
                f"--ssl-cert={folder / 'server.pem'}",
                f"--ssl-key={folder / 'server.key'}",
            )
            without = {Flavour.MARIADB: "--skip-ssl", Flavour.MYSQL: "--auto-generate-certs=OFF"}
            made[flavour, True] = running.enter_context(_site(flavour, folder, *with_tls))
            made[flavour, False] = running.enter_context(
                _site(flavour, tmp_path_factory.mktemp("plain"), without[flavour])
            )
        yield made


@pytest.fixture(params=FLAVOURS, ids=str)
def site(request: pytest.FixtureRequest, sites: dict[tuple[Flavour, bool], Site]) -> Site:
    """A server with TLS."""
    return sites[request.param, True]


@pytest.fixture(params=FLAVOURS, ids=str)
def plain_site(request: pytest.FixtureRequest, sites: dict[tuple[Flavour, bool], Site]) -> Site:
    """A server without."""
    return sites[request.param, False]


# --- programs -----------------------------------------------------------------


def _debian_mirror() -> str | None:
    """The mirror that this machine's apt uses, when it is one of Debian's."""
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for place in places:
        if place.is_file() and (
            found := re.search(
                r"^(?:URIs:|deb)\s.*?([a-z+]+://\S+/debian)/?(?:\s|$)",
                place.read_text(errors="replace"),
                re.MULTILINE,
            )
        ):
            return found[1]
    return None


def _of_suite(suite: str) -> Path:
    """The folder of the programs of another suite: unpacked by the layer's own code, and kept."""
    kept = _PROJECT / ".local/suites" / suite
    if (kept / "layer/bin").is_dir():
        return kept / "layer/bin"
    mirror, keys = _debian_mirror(), Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if mirror is None or not keys.is_file():
        pytest.skip(f"the programs of Debian {suite} cannot be had: no Debian mirror is known here")
    kept.mkdir(parents=True, exist_ok=True)
    sources = kept / "sources.list"
    sources.write_text(f"deb [signed-by={keys}] {mirror} {suite} main\n")
    unpacked = kept / "unpacked"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LCP_LAYER_APT_SOURCES", str(sources))
        patch.setenv("LCP_LAYER_CACHE", str(kept / "cache"))
        try:
            client_layer.build(unpacked, _NATIVE)
        except client_layer.CannotBuild as error:
            pytest.skip(f"the programs of Debian {suite} cannot be had: {error}")
    # Only what is whole gets the name.
    unpacked.rename(kept / "layer")
    return kept / "layer/bin"


@pytest.fixture(scope="module", params=_PROGRAMS)
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DumpProgram:
    """MariaDB's dump program as it was and as it is from 11.4 on, and MySQL's."""
    if request.param == "mysql":
        layer = tmp_path_factory.mktemp("mysql-layer")
        client_layer.assemble(Path(MYSQL_DIR or "", "x"), layer, _NATIVE)
        return find_program([layer / "bin"], Flavour.MYSQL)
    installed = find_program([Path("/usr/bin")], Flavour.MARIADB)
    if installed.version.startswith(f"{request.param}."):
        return installed
    found = find_program([_of_suite(_SUITES[request.param])], Flavour.MARIADB)
    assert found.version.startswith(f"{request.param}.")
    return found


def _ask(endpoint: DatabaseEndpoint) -> Server:
    with closing(connect(endpoint, database=endpoint.name)) as connection:
        return ask_server(connection)


def _dump(endpoint: DatabaseEndpoint, program: DumpProgram, server: Server) -> bytes:
    with start_dump(endpoint, program, server, on_snapshot=lambda: None) as dump:
        whole = b"".join(dump.chunks())
        dump.finish()
    return whole


def _check_dumps(site: Site, endpoint: DatabaseEndpoint, program: DumpProgram) -> Server:
    site.forget_logins()
    server = _ask(endpoint)
    site.forget_logins()
    assert b"kept in mind" in _dump(endpoint, program, server)
    return server


# --- the matrix ---------------------------------------------------------------


@pytest.mark.parametrize("demanded", [False, True], ids=["offered", "demanded"])
@pytest.mark.parametrize("tls", DatabaseTls)
def test_with_a_server_that_offers_tls(
    site: Site, program: DumpProgram, tls: DatabaseTls, demanded: bool
) -> None:
    encrypts = tls is not DatabaseTls.DISABLED
    endpoint = site.endpoint(tls, encrypted=encrypts)
    with site.demanding() if demanded else ExitStack():
        if encrypts or not demanded:
            assert _check_dumps(site, endpoint, program).encrypted is encrypts
            return
        # (MariaDB answers as if the password were wrong.)
        said = "demands TLS and LCP_DATABASE_TLS is DISABLED|PASSWORD .and LCP_DATABASE_TLS"
        with pytest.raises(DatabaseUnreachable, match=said):
            _ask(endpoint)
        with pytest.raises(DumpFailed, match="do not agree on TLS.*check LCP_DATABASE_TLS|1045"):
            _dump(endpoint, program, Server(site.flavour, "", encrypted=encrypts))


def test_where_no_certificate_counts_no_authorities_are_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the system's take 17 ms, and a load opens dozens of connections."""
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", NotImplemented)
    assert _ask(site.endpoint(DatabaseTls.PREFERRED, encrypted=True)).encrypted


@pytest.mark.parametrize("tls", DatabaseTls)
def test_with_a_server_without_tls(
    plain_site: Site, program: DumpProgram, tls: DatabaseTls
) -> None:
    endpoint = plain_site.endpoint(tls)
    if tls in {DatabaseTls.PREFERRED, DatabaseTls.DISABLED}:
        assert not _check_dumps(plain_site, endpoint, program).encrypted
        return
    with pytest.raises(DatabaseUnreachable, match=f"offers no TLS and LCP_DATABASE_TLS is {tls}"):
        _ask(endpoint)
    if tls is DatabaseTls.REQUIRED and program.flavour is Flavour.MARIADB:
        return  # These programs cannot demand it; the connection before them does.
    with pytest.raises(DumpFailed, match="do not agree on TLS.*check LCP_DATABASE_TLS"):
        _dump(endpoint, program, Server(plain_site.flavour, ""))


@pytest.mark.parametrize("kind", ["for another host", "of another authority"])
def test_a_certificate_that_is_not_the_servers_is_refused(
    site: Site, program: DumpProgram, kind: str
) -> None:
    _check_refused(site, program, kind)


def test_an_expired_certificate_is_refused(
    sites: dict[tuple[Flavour, bool], Site], program: DumpProgram
) -> None:
    # (A MySQL server does not present one.)
    _check_refused(sites[Flavour.MARIADB, True], program, "expired")


def _check_refused(site: Site, program: DumpProgram, kind: str) -> None:
    """The certificate is refused when it is looked at, and taken when it is not."""
    verified = site.endpoint(DatabaseTls.VERIFY_IDENTITY, encrypted=True)
    with site.presenting(kind):
        with pytest.raises(DatabaseUnreachable, match="certificate of the .*LCP_DATABASE_CA"):
            _ask(verified)
        with pytest.raises(DumpFailed, match="do not agree on TLS.*LCP_DATABASE_CA"):
            _dump(verified, program, Server(site.flavour, "", encrypted=True))
        _check_dumps(site, site.endpoint(DatabaseTls.REQUIRED, encrypted=True), program)
        _check_dumps(site, site.endpoint(DatabaseTls.PREFERRED, encrypted=True), program)


def test_without_an_authority_no_server_is_believed(site: Site, program: DumpProgram) -> None:
    endpoint = replace(site.endpoint(DatabaseTls.VERIFY_IDENTITY, encrypted=True), ca=None)
    with pytest.raises(DatabaseUnreachable, match="certificate of the server"):
        _ask(endpoint)
    with pytest.raises(DumpFailed, match="do not agree on TLS"):
        _dump(endpoint, program, Server(site.flavour, "", encrypted=True))


def test_an_account_that_demands_tls_is_not_said_to_have_a_wrong_password_only(site: Site) -> None:
    with pytest.raises(DatabaseUnreachable, match="LCP_MASTER_USER_PASSWORD .and LCP_DATABASE_TLS"):
        _ask(site.endpoint(DatabaseTls.DISABLED, encrypted=True))


# --- servers that ask for too much --------------------------------------------


class Asking:
    """A server that greets and then asks for the password by a plugin; keeps all it is sent."""

    # LONG_PASSWORD, LONG_FLAG, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION,
    # PLUGIN_AUTH, PLUGIN_AUTH_LENENC_CLIENT_DATA; SSL.
    _ABILITIES = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000 | 0x200000
    _SSL = 0x800
    _SALT = b"saltsaltsaltsaltsalt"

    def __init__(self, question: bytes, *, encryption: ssl.SSLContext | None = None) -> None:
        self._heard = b""
        self._question = question
        self._encryption = encryption
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def endpoint(self, tls: DatabaseTls) -> DatabaseEndpoint:
        return DatabaseEndpoint(HOST, self.port, "any", SecretStr(PASSWORD), "site", tls)

    def heard(self) -> bytes:
        """All that it was sent; it then serves nobody any more."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        return self._heard

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            client.settimeout(5)
            # Whoever is asked may hang up at any time.
            with suppress(OSError), client:
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        abilities = self._ABILITIES | (self._SSL if self._encryption else 0)
        greeting = (
            b"\x0a8.4.0\0"
            + struct.pack("<I8sx", 1, self._SALT)
            + struct.pack("<HBHHB10x", abilities & 0xFFFF, 45, 2, abilities >> 16, 21)
            + self._SALT[8:]
            + b"\0mysql_native_password\0"
        )
        client.sendall(self._packet(0, greeting))
        number = self._hear(client)
        if self._encryption:
            with self._encryption.wrap_socket(client, server_side=True) as encrypted:
                self._ask(encrypted, self._hear(encrypted))
        else:
            self._ask(client, number)

    def _ask(self, client: socket.socket, number: int) -> None:
        for question in self._question.split(b"|"):
            client.sendall(self._packet(number + 1, question))
            number = self._hear(client)

    def _hear(self, client: socket.socket) -> int:
        head = self._all(client, 4)
        self._heard += self._all(client, int.from_bytes(head[:3], "little"))
        return head[3]

    @staticmethod
    def _all(client: socket.socket, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            if not (more := client.recv(size - len(taken))):
                raise OSError
            taken += more
        return taken

    @staticmethod
    def _packet(number: int, content: bytes) -> bytes:
        return struct.pack("<I", len(content))[:3] + bytes([number]) + content


CLEAR_TEXT = {
    "mysql_clear_password": b"\xfemysql_clear_password\0",
    "dialog": b"\xfedialog\0\x04Password: ",
}
QUESTIONS = {
    **CLEAR_TEXT,
    "mysql_old_password": b"\xfemysql_old_password\0saltsalt\0",
    # Its second word wants the whole password: as it is over TLS, by a key otherwise.
    "caching_sha2_password": b"\xfecaching_sha2_password\0saltsaltsaltsaltsalt\0|\x01\x04",
}


@pytest.fixture
def asking() -> Iterator[Callable[..., Asking]]:
    """Starts servers that ask."""
    with ExitStack() as running:

        def start(question: bytes, encryption: ssl.SSLContext | None = None) -> Asking:
            started = Asking(question, encryption=encryption)
            running.callback(started.heard)
            return started

        yield start


@pytest.fixture
def encryption(tmp_path: Path) -> ssl.SSLContext:
    CERTIFICATES["good"].write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    return context


@pytest.mark.parametrize("tls", [DatabaseTls.PREFERRED, DatabaseTls.DISABLED])
@pytest.mark.parametrize("plugin", QUESTIONS)
def test_no_password_is_sent_in_clear_text_without_tls(
    asking: Callable[..., Asking], program: DumpProgram, plugin: str, tls: DatabaseTls
) -> None:
    server = asking(QUESTIONS[plugin])
    with pytest.raises(DatabaseUnreachable):
        _ask(server.endpoint(tls))
    with pytest.raises(DumpFailed):
        _dump(server.endpoint(tls), program, Server(Flavour.MYSQL, "", encrypted=False))
    heard = server.heard()
    assert heard.count(b"any\0") == 2, "both came as far as the question"
    assert PASSWORD.encode() not in heard


@pytest.mark.parametrize("plugin", CLEAR_TEXT)
def test_what_asks_for_clear_text_is_told_why_it_gets_none(
    asking: Callable[..., Asking], plugin: str
) -> None:
    server = asking(QUESTIONS[plugin])
    with pytest.raises(DatabaseUnreachable, match="no login at .*in clear text.*switch TLS on"):
        _ask(server.endpoint(DatabaseTls.PREFERRED))


@pytest.mark.parametrize("plugin", CLEAR_TEXT)
def test_over_tls_a_password_may_be_asked_for_in_clear_text(
    asking: Callable[..., Asking], encryption: ssl.SSLContext, plugin: str
) -> None:
    server = asking(QUESTIONS[plugin], encryption)
    verified = replace(server.endpoint(DatabaseTls.VERIFY_IDENTITY), ca=AUTHORITY.pem)
    with pytest.raises(DatabaseUnreachable, match="does not answer as expected"):
        _ask(verified)
    assert PASSWORD.encode() in server.heard()


def test_not_even_over_tls_is_a_password_sent_as_before_mysql_4_1(
    asking: Callable[..., Asking], encryption: ssl.SSLContext
) -> None:
    server = asking(QUESTIONS["mysql_old_password"], encryption)
    with pytest.raises(DatabaseUnreachable, match="before MySQL 4.1.*set it anew"):
        _ask(server.endpoint(DatabaseTls.REQUIRED))
