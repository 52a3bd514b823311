"""What a backup holds: its files, a folder at a time, and its tables."""

import json
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query

from lcp_backup.errors import InvalidRequest
from lcp_backup.jobs.contents import folder_page, tables_page
from lcp_backup.volume.paths import checked_paths, path_text
from lcp_backup_api.dependencies import TheBackend, TheBackupId, Viewer
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import FileList, ListedFile, TableList

router = APIRouter(tags=["backups"])

_MOST_TEXT: Final = 5 << 20
"""Bytes of files in one answer, as a string in JSON: Lambda's 6 MB hold them with all else."""
_LONGEST: Final = 2500
"""Characters of a path. A call may hold two, and API Gateway takes 10,240 bytes of request line and
headers in all (its quota "total combined size of request line and header values")."""
_TOP: Final = frozenset({"", ".", "./", "/"})

type Limit = Annotated[int, Query(ge=1, le=1000)]
type After = Annotated[
    str | None,
    Query(alias="next", description="The `next` of the page before.", max_length=_LONGEST),
]


@router.get(
    "/backup/{backup_id}/files",
    summary="List what lies in a folder of a backup's volume",
    responses=documented(
        HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR
    ),
    response_model=FileList,
)
def list_files(
    *,
    _caller: Viewer,
    backend: TheBackend,
    backup_id: TheBackupId,
    path: Annotated[
        str,
        Query(
            max_length=_LONGEST,
            description="The folder, relative to the data folder; none is the data folder itself.",
            examples=["document_library/20097"],
        ),
    ] = "",
    limit: Limit = 100,
    after: After = None,
) -> FileList:
    """By name, with sizes and times. Out of the index alone: no archive is read for it."""
    folder = "" if path in _TOP else checked_paths([path])[0]
    last = None if after is None else checked_paths([after])[0]
    if last is not None and last.rpartition("/")[0] != folder:
        raise InvalidRequest("next is not of a list of this folder: send the same path with it")
    listed, more = folder_page(backend.catalog, backup_id, folder, after=last, limit=limit)
    files: list[ListedFile] = []
    size = 0
    for it in listed:
        file = ListedFile.of(it)
        # (What JSON escapes is escaped again in the document that Lambda is handed.)
        size += len(json.dumps(file.model_dump_json(), ensure_ascii=False).encode())
        if files and size > _MOST_TEXT:
            more = True
            break
        files.append(file)
    return FileList(
        path=path_text(folder), files=files, next=files[-1].path if more and files else None
    )


@router.get(
    "/backup/{backup_id}/tables",
    summary="List the tables and views of a backup's database",
    responses=documented(
        HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR
    ),
    response_model=TableList,
)
def list_tables(
    *,
    _caller: Viewer,
    backend: TheBackend,
    backup_id: TheBackupId,
    limit: Limit = 1000,
    after: After = None,
) -> TableList:
    """By name, with sizes. Out of the index alone, which knows no numbers of rows."""
    content, more = tables_page(backend.catalog, backup_id, after=after, limit=limit)
    return TableList.of(content, more=more)
