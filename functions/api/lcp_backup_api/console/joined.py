"""ES modules joined into one script, so that a page asks for it once.

API Gateway would start a function for each of twenty modules that a browser asks for side by side.
"""

import posixpath
import re
from collections.abc import Mapping
from typing import Final

_IMPORT: Final = re.compile(
    r'^import \{(?P<names>[^}]*)\} from "(?P<path>\.{1,2}/[a-z_/.]+\.js)";$', re.MULTILINE
)
_EXPORT: Final = re.compile(
    r"^export (?=(?:async )?(?:function|const|class) (?P<name>\w+))", re.MULTILINE
)
_OTHER: Final = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


def joined(modules: Mapping[str, str], entry: str) -> str:
    """One script that does what the module `entry` does.

    Each module becomes a function that is called once, after those that it imports from.

    Args:
        modules: sources by name (`plots.js`, `views/runs.js`).
        entry: the name of the first module.

    Raises ValueError for a module that imports or exports in another form than
    `import { a, b } from "./c.js";` and `export function`, `const` or `class`, that is missing, or
    that imports itself by way of others.
    """
    order: list[str] = []
    _visit(modules, entry, (), order)
    return "\n".join(_called(name, modules[name], order) for name in order)


def _visit(modules: Mapping[str, str], name: str, above: tuple[str, ...], order: list[str]) -> None:
    if name in above:
        raise ValueError(f"modules import each other in a circle: {(*above, name)}")
    if name not in modules:
        raise ValueError(f"{above[-1] if above else 'nothing'} imports {name}, which is not there")
    if name in order:
        return
    for found in _IMPORT.finditer(modules[name]):
        _visit(modules, _beside(name, found["path"]), (*above, name), order)
    order.append(name)


def _called(name: str, source: str, order: list[str]) -> str:
    exported = [found["name"] for found in _EXPORT.finditer(source)]
    body = _EXPORT.sub("", _IMPORT.sub(lambda it: _taken(name, it, order), source))
    if other := _OTHER.search(body):
        raise ValueError(f"{name}: this form is not joined: {other[0]}")
    return (
        f"// {name}\nconst module{order.index(name)} = (() => {{\n{body.rstrip()}\n"
        f"return {{ {', '.join(exported)} }};\n}})();"
    )


def _taken(name: str, found: re.Match[str], order: list[str]) -> str:
    return f"const {{{found['names']}}} = module{order.index(_beside(name, found['path']))};"


def _beside(name: str, path: str) -> str:
    """The name of what a module names by its path from there."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
