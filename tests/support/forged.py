"""Indexes and manifests that somebody forged who may write to the bucket, with right SHA-256s."""

import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any

from tests.support.memory_s3 import MemoryS3

type Line = dict[str, Any]


def forge_manifest(s3: MemoryS3, folder: str, edit: Callable[[dict[str, Any]], None]) -> None:
    """Changes what the manifest in a backup's folder says."""
    key = f"{folder}/manifest.json"
    said = json.loads(s3.objects[key]["Body"])
    edit(said)
    s3.put_object(Key=key, Body=json.dumps(said).encode())


def forge_index(s3: MemoryS3, folder: str, edit: Callable[[list[Line]], list[Line]]) -> None:
    """Changes the lines of the volume's index there, and has the manifest name the new one."""
    key = f"{folder}/volume.index"
    lines = [json.loads(it) for it in gzip.decompress(s3.objects[key]["Body"]).splitlines()]
    written = (json.dumps(it, ensure_ascii=False, separators=(",", ":")) for it in edit(lines))
    body = gzip.compress("".join(f"{it}\n" for it in written).encode())
    s3.put_object(Key=key, Body=body)
    named = {"index_size": len(body), "index_sha256": hashlib.sha256(body).hexdigest()}
    forge_manifest(s3, folder, lambda it: it["volume"].update(named))


def is_of_source(line: Line) -> bool:
    """Whether a line of an index is a segment that lies in another backup's archive."""
    return "offset" in line and bool(line.get("source"))


def each_member(lines: list[Line], change: Callable[[list[Any]], None]) -> list[Line]:
    """The same lines, with each member changed."""
    for line in lines:
        for member in line["members"] if isinstance(line.get("members"), list) else ():
            change(member)
    return lines
