"""Tar files of any kind, member by member."""

import io
import tarfile
from typing import Any


class Tar:
    """Builds archives that others might send."""

    def __init__(self, form: int = tarfile.PAX_FORMAT) -> None:
        self._raw = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._raw, mode="w", format=form)  # noqa: SIM115 -- closed by raw()

    def add(
        self,
        name: str,
        content: bytes = b"",
        *,
        kind: bytes = tarfile.REGTYPE,
        target: str = "",
        **fields: Any,
    ) -> "Tar":
        member = tarfile.TarInfo(name)
        member.type = kind
        member.size = len(content)
        member.linkname = target
        for field, value in fields.items():
            setattr(member, field, value)
        self._tar.addfile(member, io.BytesIO(content))
        return self

    def raw(self) -> bytes:
        self._tar.close()
        return self._raw.getvalue()
