"""S3 as AWS's is, where MiniStack's differs; imported where MiniStack runs.

Each mend says what it mends. They lean on names that are private to the locked version:
tests/integration/test_mended_emulator.py sees whether each still bites.
"""

import contextvars
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from ministack.services import s3

SMALLEST_PART: Final = 5 << 20
"""Bytes of every part of a multipart but the last; source: AWS's quotas of S3."""

_reads_range: Final = contextvars.ContextVar("reads_range", default=False)


def mend() -> None:
    """Mends all; call it once, before MiniStack starts."""
    read_ranges_alone()
    refuse_parts()


def read_ranges_alone() -> None:
    """A range is read, or copied, alone: MiniStack reads the whole object for each.

    That took half a second a range of a gigabyte, so that workers were slower than one.
    """
    read = s3._read_body
    s3._get_object = _reading(s3._get_object, "range", headers_at=2)
    s3._upload_part_copy = _reading(s3._upload_part_copy, "x-amz-copy-source-range", headers_at=3)

    def read_mapped(bucket: str, key: str, entry: dict[str, Any]) -> Any:
        place = Path(s3._object_disk_path(bucket, key) or "/")
        in_memory = entry.get("body") is not None
        if in_memory or not _reads_range.get() or not entry["size"] or not place.is_file():
            return read(bucket, key, entry)
        with place.open("rb") as file:
            # Slices of it are bytes; it is unmapped with the last reference to it.
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    s3._read_body = read_mapped


def _reading(act: Callable[..., Any], header: str, *, headers_at: int) -> Callable[..., Any]:
    """An operation of S3 that needs no more of an object than the range in this header."""

    def act_on_range(*request: Any) -> Any:
        token = _reads_range.set(bool(request[headers_at].get(header)))
        try:
            return act(*request)
        finally:
            _reads_range.reset(token)

    return act_on_range


def refuse_parts() -> None:
    """A multipart is not completed with a part below 5 MiB that is not the last.

    Nor with numbers other than 1, 2, 3 and so on where parts have a checksum. MiniStack takes both.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompletedPart.html
    """
    complete = s3._complete_multipart_upload

    def complete_checked(
        bucket: str, key: str, body: bytes, query: dict[str, Any], *more: Any
    ) -> Any:
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
        parts = upload["parts"] if upload else {}
        numbers = _part_numbers(body)
        if b"<Checksum" in body and numbers != list(range(1, len(numbers) + 1)):
            text = "The list of parts was not in ascending order"
            return s3._error("InvalidPartOrder", text, 400, f"/{bucket}/{key}")
        sizes = [parts[number]["size"] for number in numbers if number in parts]
        if any(size < SMALLEST_PART for size in sizes[:-1]):
            text = "Your proposed upload is smaller than the minimum allowed size"
            return s3._error("EntityTooSmall", text, 400, f"/{bucket}/{key}")
        return complete(bucket, key, body, query, *more)

    s3._complete_multipart_upload = complete_checked


def _part_numbers(body: bytes) -> list[int]:
    """In the order of the parts; none of what is no XML, which MiniStack refuses itself."""
    try:
        elements = s3.fromstring(body).iter()
    except ParseError:
        return []
    numbers = [it.text for it in elements if it.tag.rpartition("}")[2] == "PartNumber"]
    return sorted(int(number) for number in numbers if number)
