"""Folders like a document library: many small documents, a few large ones, half incompressible."""

import random
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_WORDS = [f"word{number:04d}" for number in range(3000)]
_IN_FOLDER: Final = 40
SUFFIX: Final = ".bin"
"""How the name of every file ends."""


def make_folder(folder: Path, *, files: int, size: int) -> None:
    """Fills a new folder with `files` files of about `size` bytes in all; the same every time.

    Every second file is random bytes (pictures, office documents: deflated already), the others
    are text. Sizes are spread as documents' are: most small, a tenth of them most of the bytes.
    """
    chance = random.Random(files)
    weights = [chance.paretovariate(1.2) for _ in range(files)]
    limit = 60 * sum(weights) / files
    weights = [min(weight, limit) for weight in weights]
    unit = size / sum(weights)
    text = _text(chance)

    def contents() -> Iterator[tuple[str, bytes]]:
        for number, weight in enumerate(weights):
            name = f"document_library/{20097 + number % 7}/{number // 40}/{number}{SUFFIX}"
            yield name, _content(chance, int(weight * unit), number, text)

    _write(folder, contents())


def make_documents(folder: Path, numbers: Iterable[int], *, size: int, version: int = 0) -> None:
    """Writes documents of `size` bytes each: new ones, or over what they were in other versions.

    A document's name comes from its number, its content from its number and the version. Every
    second is random bytes, the others are text, and no two are alike.
    """
    text = _text(random.Random(size))

    def contents() -> Iterator[tuple[str, bytes]]:
        for number in numbers:
            chance = random.Random(number << 16 | version)
            yield document(number), _content(chance, size, number, text)

    _write(folder, contents())


def document(number: int) -> str:
    """The name of a document, relative to the folder; forty of them lie in one folder."""
    group = number // _IN_FOLDER
    return f"document_library/{20097 + group % 7}/{group}/{number}{SUFFIX}"


def remove(tree: Path) -> None:
    """Removes a tree; Python takes several times as long for a million files."""
    subprocess.run(["/bin/rm", "-r", tree], check=True)


def _text(chance: random.Random) -> bytes:
    return " ".join(chance.choices(_WORDS, k=400_000)).encode()


def _write(folder: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    made: set[Path] = set()
    for name, content in contents:
        path = folder / name
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        path.write_bytes(content)


def _content(chance: random.Random, size: int, number: int, text: bytes) -> bytes:
    if number % 2:
        return chance.randbytes(size)
    start = chance.randrange(len(text) // 2)
    if start + size <= len(text):
        return text[start : start + size]
    repeated = text[start:] * (size // (len(text) - start) + 1)
    return repeated[:size]
