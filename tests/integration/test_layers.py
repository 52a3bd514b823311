"""The layers as `sam build` makes them; the client layer dumps where there is nothing but it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import client_layer
import elf
import pytest

from lcp_backup.database.dump import start_dump
from lcp_backup.database.dump_program import find_program
from lcp_backup.database.endpoint import Flavour, ask_server, connect
from tests.support.certificates import AUTHORITY, CERTIFICATES, FOREIGN, HOST
from tests.support.servers import MYSQL_DIR, DatabaseServer, running_server

_PROJECT = Path(__file__).parents[2]
_SCRIPT = _PROJECT / "layers/mysql_client/client_layer.py"
_NATIVE = "arm64" if os.uname().machine == "aarch64" else "x86_64"
_FOREIGN = "x86_64" if _NATIVE == "arm64" else "arm64"
_PASSWORD = "S3cret-of-the-test"
_HOST = "127.0.0.1"
_AUTHENTICATION = {
    Flavour.MARIADB: f"IDENTIFIED VIA ed25519 USING PASSWORD('{_PASSWORD}')",
    # With TLS demanded, as the service's users should be.
    Flavour.MYSQL: f"IDENTIFIED WITH caching_sha2_password BY '{_PASSWORD}' REQUIRE SSL",
}


def _built(folder: Path, architecture: str) -> Path:
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(folder)],
        env={
            **os.environ,
            "LCP_BUILD_ARCHITECTURE": architecture,
            "LCP_LAYER_CACHE": str(_PROJECT / ".local/client-layer-cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer for this machine's processor."""
    return _built(tmp_path_factory.mktemp("layer"), _NATIVE)


@pytest.fixture(scope="module")
def foreign_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer for the other processor; nothing in it can be run here."""
    return _built(tmp_path_factory.mktemp("foreign-layer"), _FOREIGN)


@pytest.fixture
def site(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """A server with a schema, and a user whose password only a plugin can check."""
    if server.flavour is Flavour.MARIADB:
        server.execute("INSTALL SONAME 'auth_ed25519'")
    server.execute("CREATE DATABASE layer_site")
    server.load(b"CREATE TABLE T (a TEXT); INSERT INTO T VALUES ('kept in mind')", "layer_site")
    server.execute(f"CREATE USER reader@'%' {_AUTHENTICATION[server.flavour]}")
    server.execute("GRANT ALL ON *.* TO reader@'%'")
    yield server
    server.execute("DROP USER reader@'%'")
    server.execute("DROP DATABASE layer_site")


def _is_elf(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[:4] == b"\x7fELF"


def _check_whole(layer: Path, architecture: str) -> None:
    """Every file is of the processor, finds what it needs, and asks for no newer C library."""
    files = [path for path in layer.rglob("*") if _is_elf(path)]
    assert files
    for path in files:
        about = elf.read(path)
        assert about.machine == architecture, path
        own = path.parent.parent.name == "lib" and path.parent.name in client_layer.PROGRAMS
        libraries = path.parent if own else layer / "lib"
        if not own and path.parent.name != "plugin":
            assert client_layer.glibc_needed(path) <= client_layer.RUNTIME_GLIBC, path
        if path.parent.name == "plugin":
            continue
        for name in about.needed:
            is_base = re.match(r"(ld-linux|lib(c|m|dl|pthread|rt|resolv)\.so)", name)
            assert (libraries / name).is_file() or (is_base and not own), f"{path} needs {name}"


def _empty_root(folder: Path, layer: Path) -> Path:
    """A root folder with the layer at /opt, a C library and a shell: what Lambda has, no more."""
    shutil.copytree(layer, folder / "opt", symlinks=True)
    shell = Path("/bin/sh").resolve()
    interpreter = elf.read(shell).interpreter
    assert interpreter
    loaded = subprocess.run(["ldd", str(shell)], capture_output=True, text=True, check=True).stdout
    libraries = Path(next(iter(re.findall(r"(/\S+/libc\.so\.6)", loaded)))).parent
    (folder / "lib64").mkdir()
    for name in re.findall(r"(\S+) => /", loaded):
        shutil.copy(libraries / name, folder / "lib64" / name)
    for name in ("libm.so.6", "libdl.so.2", "libpthread.so.0"):
        shutil.copy(libraries / name, folder / "lib64" / name)
    loader = folder / interpreter.lstrip("/")
    loader.parent.mkdir(exist_ok=True)
    shutil.copy(interpreter, loader)
    (folder / "bin").mkdir()
    shutil.copy(shell, folder / "bin/sh")
    (folder / "tmp").mkdir()
    return folder


def _dump_in(
    root: Path, program: str, server: DatabaseServer, *, host: str = _HOST, options: str = ""
) -> bytes:
    (root / "tmp/options.cnf").write_text(
        f'[client]\nuser=reader\npassword="{_PASSWORD}"\n{options}'
    )
    namespace = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    done = subprocess.run(
        [
            *namespace,
            "chroot",
            str(root),
            f"/opt/bin/{program}",
            "--defaults-file=/tmp/options.cnf",
            f"--host={host}",
            f"--port={server.port}",
            "--protocol=tcp",
            "--plugin-dir=/opt/lib/plugin",
            "--default-character-set=utf8mb4",
            "--no-tablespaces",
            "--single-transaction",
            "layer_site",
        ],
        # As Lambda sets it: the runtime's folders come before the layer's.
        env={"LD_LIBRARY_PATH": "/lib64:/opt/lib", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_everything_in_the_layer_finds_what_it_needs_in_the_runtime(layer: Path) -> None:
    _check_whole(layer, _NATIVE)


def test_the_layer_for_the_other_processor_is_whole_too(foreign_layer: Path) -> None:
    _check_whole(foreign_layer, _FOREIGN)


def test_the_services_own_layer_is_built_for_the_other_processor(tmp_path: Path) -> None:
    target = (f"ARTIFACTS_DIR={tmp_path}", f"LCP_BUILD_ARCHITECTURE={_FOREIGN}")
    subprocess.run(
        ["make", "-C", str(_PROJECT / "shared"), "build-ServiceLayer", *target],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "python/lcp_backup/database/rds-ca.pem").is_file()
    compiled = [path for path in tmp_path.rglob("*.so*") if _is_elf(path)]
    assert {path.name.partition(".")[0] for path in compiled} > {"_pydantic_core", "igzip_lib"}
    for path in compiled:
        assert elf.read(path).machine == _FOREIGN, path
        assert client_layer.glibc_needed(path) <= client_layer.RUNTIME_GLIBC, path


def test_the_layer_dumps_in_an_empty_root(
    layer: Path, site: DatabaseServer, tmp_path: Path
) -> None:
    dump = _dump_in(_empty_root(tmp_path, layer), "mariadb-dump", site)
    assert b"kept in mind" in dump
    assert b"-- Dump completed" in dump


def test_the_layers_program_verifies_a_server_in_an_empty_root(layer: Path, tmp_path: Path) -> None:
    certificate = tmp_path / "server"
    certificate.mkdir()
    CERTIFICATES["good"].write(certificate)
    root = _empty_root(tmp_path / "root", layer)
    with running_server(
        Flavour.MARIADB,
        tmp_path,
        f"--bind-address={_HOST},{HOST}",
        f"--ssl-cert={certificate / 'server.pem'}",
        f"--ssl-key={certificate / 'server.key'}",
    ) as server:
        server.execute("CREATE DATABASE layer_site")
        server.execute(f"CREATE USER reader@'%' IDENTIFIED BY '{_PASSWORD}' REQUIRE SSL")
        server.execute("GRANT ALL ON *.* TO reader@'%'")
        for authority, believed in ((AUTHORITY, True), (FOREIGN, False)):
            (root / "tmp/ca.pem").write_text(authority.pem)
            options = "ssl=1\nssl-verify-server-cert=1\nssl-ca=/tmp/ca.pem\n"
            if believed:
                dump = _dump_in(root, "mariadb-dump", server, host=HOST, options=options)
                assert b"-- Dump completed" in dump
                continue
            with pytest.raises(AssertionError, match="TLS/SSL error"):
                _dump_in(root, "mariadb-dump", server, host=HOST, options=options)


def test_the_service_finds_the_layers_program_and_dumps_with_it(
    layer: Path, site: DatabaseServer
) -> None:
    program = find_program([layer / "bin"], site.flavour)
    assert program.path.parent == layer / "bin"
    endpoint = site.endpoint("layer_site", user="reader", password=_PASSWORD)
    with connect(site.endpoint(""), database=None) as connection:
        described = ask_server(connection)
    with start_dump(endpoint, program, described, on_snapshot=lambda: None) as dump:
        whole = b"".join(dump.chunks())
        dump.finish()
    assert b"kept in mind" in whole


if MYSQL_DIR:

    def test_a_program_that_needs_a_newer_c_library_brings_it(
        mysql: DatabaseServer, tmp_path: Path
    ) -> None:
        layer, root = tmp_path / "layer", tmp_path / "root"
        root.mkdir()
        (built,) = client_layer.assemble(Path(MYSQL_DIR or "", "x"), layer, _NATIVE)
        assert built == client_layer.Built("mysqldump", brings_c_library=True)
        _check_whole(layer, _NATIVE)
        assert not list((layer / "lib").glob("libc.so*"))
        assert find_program([layer / "bin"], Flavour.MYSQL).flavour is Flavour.MYSQL
        mysql.execute("CREATE DATABASE layer_site")
        mysql.load(b"CREATE TABLE T (a TEXT); INSERT INTO T VALUES ('kept in mind')", "layer_site")
        mysql.execute(f"CREATE USER reader@'%' {_AUTHENTICATION[Flavour.MYSQL]}")
        mysql.execute("GRANT ALL ON *.* TO reader@'%'")
        try:
            dump = _dump_in(_empty_root(root, layer), "mysqldump", mysql)
        finally:
            mysql.execute("DROP USER reader@'%'")
            mysql.execute("DROP DATABASE layer_site")
        assert b"kept in mind" in dump


def test_a_library_that_no_package_brought_is_named(tmp_path: Path) -> None:
    program = tmp_path / "usr/bin/mysqldump"
    program.parent.mkdir(parents=True)
    shutil.copy(Path("/bin/sh").resolve(), program)
    with pytest.raises(client_layer.CannotBuild, match=r"mysqldump needs libc\.so\.6"):
        client_layer.assemble(tmp_path, tmp_path / "layer", _NATIVE)


def test_a_processor_that_lambda_has_not_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LCP_BUILD_ARCHITECTURE", "riscv64")
    with pytest.raises(client_layer.CannotBuild, match="riscv64"):
        client_layer.main(tmp_path)


@pytest.mark.parametrize(
    ("says", "flavour", "version"),
    [
        ("/opt/bin/mariadb-dump from 11.8.9-MariaDB, client 10.20", Flavour.MARIADB, "11.8.9"),
        ("mysqldump  Ver 10.19 Distrib 10.11.19-MariaDB, for Linux", Flavour.MARIADB, "10.11.19"),
        ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", Flavour.MYSQL, "9.7.4"),
    ],
)
def test_a_program_is_known_by_any_makers_way_to_say_its_version(
    says: str, flavour: Flavour, version: str, tmp_path: Path
) -> None:
    program = tmp_path / "mariadb-dump"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    found = find_program([tmp_path], flavour)
    assert (found.flavour, found.version) == (flavour, version)
