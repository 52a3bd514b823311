"""Folders like a document library: many small documents, a few large ones, half incompressible."""

import random
from pathlib import Path

_WORDS = [f"word{number:04d}" for number in range(3000)]


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
    text = " ".join(chance.choices(_WORDS, k=400_000)).encode()
    for number, weight in enumerate(weights):
        parent = folder / "document_library" / str(20097 + number % 7) / str(number // 40)
        parent.mkdir(parents=True, exist_ok=True)
        (parent / f"{number}.bin").write_bytes(_content(chance, int(weight * unit), number, text))


def _content(chance: random.Random, size: int, number: int, text: bytes) -> bytes:
    if number % 2:
        return chance.randbytes(size)
    start = chance.randrange(len(text) // 2)
    repeated = text[start:] * (size // (len(text) - start) + 1)
    return repeated[:size]
