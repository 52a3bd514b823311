"""The house is as docs/design.md draws it: its rooms, what each may import, and their sizes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

_PROJECT = Path(__file__).parents[2]
_DESIGN = (_PROJECT / "docs" / "design.md").read_text()
_API = _PROJECT / "functions" / "api"
_SERVICE = _PROJECT / "shared"
_ROW = re.compile(r"^\| (`[^|]*`) \|[^|]*\|([^|]*)\|$", re.MULTILINE)
_BOTO = {"boto3", "botocore", "mypy_boto3_s3", "s3transfer"}
_MOST_LINES = 400
_MEDIAN_LINES = 120


def rooms() -> dict[str, frozenset[str]]:
    """What each room may import, by the table."""
    table = _DESIGN[_DESIGN.index("## Rooms") : _DESIGN.index("## The bucket")]
    found: dict[str, frozenset[str]] = {}
    for names, allowed in _ROW.findall(table):
        for name in re.findall("`([a-z_]+)`", names):
            found[name] = frozenset(re.findall("`([a-z_]+)`", allowed))
    return found


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the service and of the API by its dotted name."""
    for top in (_SERVICE / "lcp_backup", _API / "lcp_backup_api"):
        for path in sorted(top.rglob("*.py")):
            yield ".".join(path.relative_to(top.parent).with_suffix("").parts), path


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str | None:
    """The room of a module of ours; None for another's, and for the package's own names."""
    package, _, rest = module.partition(".")
    if package == "lcp_backup_api":
        return "lcp_backup_api"
    if package != "lcp_backup":
        return None
    room = rest.partition(".")[0]
    return room if room in rooms() else None


def test_the_table_has_every_room_and_no_other() -> None:
    there = {name.split(".")[1] for name, _ in modules() if name.startswith("lcp_backup.")}
    assert set(rooms()) == there - {"__init__"} | {"lcp_backup_api"}


@pytest.mark.parametrize("room", sorted(rooms()))
def test_a_room_imports_what_the_table_says_and_all_of_it(room: str) -> None:
    found = {
        other
        for name, path in modules()
        if room_of(name) == room
        for imported in imports(path)
        if (other := room_of(imported)) not in {None, room}
    }
    assert found == rooms()[room]


def test_imports_point_one_way() -> None:
    allowed = {room: set(others) for room, others in rooms().items()}
    while allowed:
        bottom = {room for room, others in allowed.items() if not others}
        assert bottom, f"these import each other in a circle: {sorted(allowed)}"
        allowed = {room: others - bottom for room, others in allowed.items() if room not in bottom}


def test_only_the_edges_know_boto3() -> None:
    knowing = {
        name
        for name, path in modules()
        if any(imported.partition(".")[0] in _BOTO for imported in imports(path))
    }
    assert {room_of(name) for name in knowing - {"lcp_backup_api.user_pool"}} == {"aws"}


def test_only_settings_reads_the_environment() -> None:
    reading = {
        name
        for name, path in modules()
        if re.search(r"os\.environ|os\.getenv|os\.get_exec_path", path.read_text())
    }
    assert reading == {"lcp_backup.settings"}


def test_no_test_imports_from_another() -> None:
    """What several use is in tests/support."""
    taken = {
        (str(path.relative_to(_PROJECT)), imported)
        for path in (_PROJECT / "tests").rglob("*.py")
        for imported in imports(path)
        if re.search(r"^tests\.(.*\.)?(conftest|test_\w+)\.", imported)
    }
    assert taken == set()


def test_no_file_is_a_burden() -> None:
    lines = {
        str(path.relative_to(_PROJECT)): len(path.read_text().splitlines())
        for top in ("shared", "functions", "layers", "cli", "local", "bench")
        for path in (_PROJECT / top).rglob("*.py")
        # (What `pip install ./cli` leaves there is a copy.)
        if "build" not in path.parts
    }
    assert {name: count for name, count in lines.items() if count > _MOST_LINES} == {}
    assert median(lines.values()) <= _MEDIAN_LINES
