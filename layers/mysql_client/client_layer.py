"""Builds the client layer: `client_layer.py FOLDER` (for `sam build`, see the Makefile).

The folder then holds dump programs and all they need, as Lambda lays it out below /opt: MariaDB's
and, where the distribution has it, Oracle's. They come from the distribution's packages by name,
unpacked and not installed: by apt (Debian, Ubuntu) or dnf (Amazon Linux).

    bin/        the programs, or the scripts that start them
    lib/        their libraries; lib/plugin/ what passwords are checked with
    lib/<name>/ a program that needs a newer C library than the Lambda runtime's, with its own

Variables:
    LCP_BUILD_ARCHITECTURE  x86_64 or arm64; without it, this machine's
    LCP_LAYER_APT_SOURCES   a sources file for apt to use in place of the machine's: for packages of
                            arm64 on Ubuntu, whose mirrors are others; for a newer MySQL
    LCP_LAYER_CACHE         a folder where apt's lists and packages are kept for the next build
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import elf

RUNTIME_GLIBC: Final = (2, 34)
"""The C library of the Lambda runtime python3.13 (Amazon Linux 2023)."""
PROGRAMS: Final = ("mariadb-dump", "mysqldump")
PLUGINS: Final = (
    "caching_sha2_password.so",
    "client_ed25519.so",
    "dialog.so",
    "mysql_clear_password.so",
    "mysql_native_password.so",
    "parsec.so",
    "sha256_password.so",
)
_DEBIAN_ARCHITECTURES: Final = {"x86_64": "amd64", "arm64": "arm64"}
_RPM_ARCHITECTURES: Final = {"x86_64": "x86_64", "arm64": "aarch64"}
_APT_WANTED: Final = (
    (("mariadb-client", "libmariadb3"),),
    (("mysql-client-core",), ("mysql-client-core-8.4",), ("mysql-client-core-8.0",)),
)
"""Of each maker, the sets of packages to try, best first."""
_DNF_WANTED: Final = (
    (
        ("mariadb1011", "mariadb-connector-c"),
        ("mariadb105", "mariadb-connector-c"),
        ("mariadb", "mariadb-connector-c"),
    ),
    (("mysql-community-client",), ("mysql8.4",), ("mysql",)),
)
_APT_UNPACKED: Final = re.compile(r"(?!lib.*perl)(lib.*|zlib1g|mariadb-client.*|mysql-client.*)")
"""Which of the resolved packages can hold a program or a library; not perl, nor its modules."""
_LIBRARY_FOLDERS: Final = (
    "usr/lib/*-linux-gnu",
    "lib/*-linux-gnu",
    "usr/lib64",
    "lib64",
    "usr/lib/*-linux-gnu/libmariadb*/plugin",
    "usr/lib*/mariadb/plugin",
    "usr/lib*/mysql",
    "usr/lib*/mysql/plugin",
    "usr/lib*/mysql/private",
)
_BASE: Final = re.compile(
    r"(ld-linux.*|libc|libm|libmvec|libdl|libpthread|librt|libresolv|libutil|libanl)\.so\.\d+"
)
"""The C library's own files, which the runtime has."""
_WRAPPER: Final = """\
#!/bin/sh
# The program needs a newer C library than the Lambda runtime's, and brings it with its loader.
own=${{0%/*}}/../lib/{name}
exec "$own/{loader}" --inhibit-cache --library-path "$own" "$own/{name}" "$@"
"""


class CannotBuild(Exception):
    """The layer cannot be built here; says why, and what would help."""


@dataclass(frozen=True)
class Built:
    """A dump program in the layer."""

    name: str
    brings_c_library: bool


def assemble(root: Path, out: Path, architecture: str) -> list[Built]:
    """Puts the dump programs of an unpacked tree into the layer's folder, with all they need.

    Args:
        root: a tree laid out as a machine's root folder.
        out: the layer's folder; what it already holds stays.
        architecture: `x86_64` or `arm64`; programs and libraries of another are not taken.

    Raises CannotBuild when a library that is needed is not in the tree.
    """
    libraries = _libraries(root, architecture)
    plugins = [libraries[name] for name in PLUGINS if name in libraries]
    (out / "bin").mkdir(parents=True, exist_ok=True)
    # Also without a plugin: by this folder the service knows that libraries were brought along.
    (out / "lib" / "plugin").mkdir(parents=True, exist_ok=True)
    built = []
    for name in PROGRAMS:
        program = root / "usr/bin" / name
        # A link is the other program's second name.
        if program.is_symlink() or not program.is_file():
            continue
        if elf.read(program).machine != architecture:
            continue
        closure = _closure([program, *plugins], libraries)
        own = [path for path in closure.values() if not _BASE.fullmatch(path.name)]
        brings = any(_is_too_new(path) for path in [program, *plugins, *own])
        if brings:
            _place_with_c_library(program, closure, libraries, out)
        else:
            shutil.copy(program, out / "bin" / name)
            for needed, path in closure.items():
                if not _BASE.fullmatch(needed):
                    shutil.copy(path, out / "lib" / needed)
        for plugin in plugins:
            shutil.copy(plugin, out / "lib/plugin" / plugin.name)
        built.append(Built(name, brings))
    return built


def _libraries(root: Path, architecture: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for pattern in _LIBRARY_FOLDERS:
        for path in sorted(root.glob(f"{pattern}/*.so*")):
            if path.name in found or not path.is_file():
                continue
            try:
                fits = elf.read(path).machine == architecture
            except elf.NotElf:
                continue  # A linker script, or a library of 32 bits.
            if fits:
                found[path.name] = path
    return found


def _closure(files: Sequence[Path], libraries: Mapping[str, Path]) -> dict[str, Path]:
    """All libraries that the files need, directly or not, by the names they are asked for with."""
    found: dict[str, Path] = {}
    waiting = list(files)
    while waiting:
        path = waiting.pop()
        for name in elf.read(path).needed:
            if name in found:
                continue
            if name not in libraries:
                raise CannotBuild(f"{path.name} needs {name}, which no package brought")
            found[name] = libraries[name]
            waiting.append(libraries[name])
    return found


def glibc_needed(path: Path) -> tuple[int, ...]:
    """The newest version of the C library that a file asks for; (0,) when it asks for none."""
    newest: tuple[int, ...] = (0,)
    for version in elf.read(path).versions:
        name, _, number = version.partition("_")
        if name == "GLIBC":
            # GLIBC_ABI_DT_RELR and its like came with 2.36 and later.
            is_number = re.fullmatch(r"[\d.]+", number)
            numbers = tuple(map(int, number.split("."))) if is_number else (sys.maxsize,)
            newest = max(newest, numbers)
    return newest


def _is_too_new(path: Path) -> bool:
    return glibc_needed(path) > RUNTIME_GLIBC


def _place_with_c_library(
    program: Path, closure: Mapping[str, Path], libraries: Mapping[str, Path], out: Path
) -> None:
    # In a folder of its own: another program must never meet this C library.
    own = out / "lib" / program.name
    own.mkdir(parents=True, exist_ok=True)
    interpreter = elf.read(program).interpreter
    loader = Path(interpreter).name if interpreter else ""
    if loader not in libraries:
        raise CannotBuild(
            f"{program.name} needs the loader {interpreter}, which no package brought"
        )
    shutil.copy(program, own / program.name)
    for name, path in {**closure, loader: libraries[loader]}.items():
        shutil.copy(path, own / name)
    (own / loader).chmod(0o755)
    script = out / "bin" / program.name
    script.write_text(_WRAPPER.format(name=program.name, loader=loader), encoding="utf-8")
    script.chmod(0o755)


def _run(command: Sequence[str], folder: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise CannotBuild(f"{' '.join(command[:4])} ... failed: {said}")
    return done.stdout


class _Apt:
    """Packages of one architecture, by a configuration that leaves the machine's own alone."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self._architecture = _DEBIAN_ARCHITECTURES[architecture]
        self._packages = folder / "packages"
        for name in ("packages", "lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        lines = [
            f'APT::Architecture "{self._architecture}";',
            f'APT::Architectures {{ "{self._architecture}"; }};',
            f'Dir::State::lists "{folder / "lists"}";',
            # Empty: what is installed here must be resolved like all else.
            f'Dir::State::status "{folder / "status"}";',
            f'Dir::Cache "{folder / "cache"}";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            # The user _apt may not write into a folder below root's.
            'APT::Sandbox::User "root";',
            'Debug::NoLocking "true";',
        ]
        if sources := os.environ.get("LCP_LAYER_APT_SOURCES"):
            lines += [
                f'Dir::Etc::sourcelist "{Path(sources).absolute()}";',
                'Dir::Etc::sourceparts "/dev/null";',
            ]
        configuration = folder / "apt.conf"
        configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._environment = {"APT_CONFIG": str(configuration), "LC_ALL": "C.UTF-8"}
        self._run("apt-get", "-qq", "update")

    def unpack(self, wanted: Sequence[str], root: Path) -> None:
        """Unpacks the packages and those they depend on; raises CannotBuild when one is unknown."""
        uris = self._run(
            "apt-get", "-qq", "-y", "--no-install-recommends", "--print-uris", "install", *wanted
        )
        # Lines of: 'address' file-name size hash
        files = [line.split()[1] for line in uris.splitlines() if line.startswith("'")]
        names = [name for file in files if _APT_UNPACKED.fullmatch(name := file.partition("_")[0])]
        downloads = [f"{name}:{self._architecture}" for name in names]
        self._run("apt-get", "-qq", "download", *downloads, folder=self._packages)
        root.mkdir()
        for file in files:
            if file.partition("_")[0] in names:
                self._run("dpkg-deb", "-x", str(self._packages / file), str(root))

    def _run(self, *command: str, folder: Path | None = None) -> str:
        return _run(command, folder, **self._environment)


class _Dnf:
    """Packages of one architecture, unpacked by installing them into a folder without scripts."""

    def __init__(self, architecture: str) -> None:
        self._architecture = _RPM_ARCHITECTURES[architecture]
        self._release = _run(
            ["rpm", "-q", "--qf", "%{VERSION}", "--whatprovides", "system-release"]
        )

    def unpack(self, wanted: Sequence[str], root: Path) -> None:
        """Unpacks the packages and those they depend on; raises CannotBuild when one is unknown."""
        root.mkdir()
        _run(
            [
                "dnf",
                "--quiet",
                "--assumeyes",
                f"--installroot={root}",
                f"--releasever={self._release}",
                f"--forcearch={self._architecture}",
                "--setopt=install_weak_deps=False",
                # Scripts of another processor's packages cannot run.
                "--setopt=tsflags=noscripts,nodocs",
                "install",
                *wanted,
            ]
        )


def build(out: Path, architecture: str) -> list[Built]:
    """Builds the layer from packages; raises CannotBuild when not even MariaDB's can be had."""
    with TemporaryDirectory(prefix="client-layer-") as scratch:
        wanted, unpacker = _unpacker(Path(scratch), architecture)
        built: list[Built] = []
        missing: list[str] = []
        for maker, choices in enumerate(wanted):
            for choice, packages in enumerate(choices):
                root = Path(scratch, f"root-{maker}-{choice}")
                try:
                    unpacker.unpack(packages, root)
                except CannotBuild as error:
                    missing.append(f"{' '.join(packages)}: {error}")
                    continue
                built += assemble(root, out, architecture)
                break
        if not built:
            raise CannotBuild("no package holds a dump program:\n" + "\n".join(missing))
        return built


def _unpacker(
    scratch: Path, architecture: str
) -> tuple[Sequence[Sequence[Sequence[str]]], _Apt | _Dnf]:
    if shutil.which("apt-get"):
        cache = os.environ.get("LCP_LAYER_CACHE")
        folder = Path(cache).absolute() / architecture if cache else scratch / "apt"
        return _APT_WANTED, _Apt(folder, architecture)
    if shutil.which("dnf"):
        return _DNF_WANTED, _Dnf(architecture)
    raise CannotBuild(
        "packages are taken by apt-get or dnf, and neither is here:"
        " build on Debian, Ubuntu or Amazon Linux, or with `sam build --use-container`"
    )


def _machine() -> str:
    return {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine(), platform.machine()
    )


def main(out: Path) -> None:
    architecture = os.environ.get("LCP_BUILD_ARCHITECTURE") or _machine()
    if architecture not in _DEBIAN_ARCHITECTURES:
        raise CannotBuild(
            f"LCP_BUILD_ARCHITECTURE: {architecture!r} is neither x86_64 nor arm64, as Lambda has"
        )
    try:
        built = build(out, architecture)
    except CannotBuild as error:
        # Without a network, what is installed will do: but only for this very processor.
        built = assemble(Path("/"), out, architecture) if architecture == _machine() else []
        if not built:
            raise
        print(f"WARNING: packages cannot be had, so the installed ones are taken: {error}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    names = ", ".join(
        f"{program.name} (with its own C library)" if program.brings_c_library else program.name
        for program in built
    )
    print(f"client layer, {architecture}: {names}; {size / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except CannotBuild as error:
        sys.exit(f"the client layer cannot be built: {error}")
