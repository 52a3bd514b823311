"""The volume of a restore on its way beside the live folder, over as many runs as it takes.

A restore whose time ends leaves its staging folder; the next one of the same backup and selection
unpacks what is missing there (`volume/begun.py`). The database is loaded anew by each.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Self

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.errors import OutOfTime, StagedInPart, VolumeError
from lcp_backup.exclusion import GENERATED, PathPatterns
from lcp_backup.history import WHOLE_BELOW
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.side_by_side import Check
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.jobs.unfinished import in_gb
from lcp_backup.model import BackupType
from lcp_backup.requests import RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.volume import selection, staging, swap
from lcp_backup.volume.begun import BegunTree, NotAsLeft, Reached, Wanted
from lcp_backup.volume.names import quoted
from lcp_backup.volume.paths import checked_paths
from lcp_backup.volume.wanted import WantedMembers

LEAST_UNPACKED: Final = WHOLE_BELOW
"""Bytes of files that must lie in a staging folder for it to be left to the next restore."""
_GOES_ON: Final = "the next restore of this backup goes on from there, within a day"


def volume_folder(request: RestoreRequest, settings: Settings) -> Path:
    """The folder that a volume is restored into; raises InvalidRequest."""
    folder = Path(settings.backup_folder)
    if request.into_folder is None:
        return folder
    return staging.check_below(Path(request.into_folder), folder)


class AlreadyStaged:
    """A volume that workers have unpacked, as VolumeStaging."""

    def __init__(self, staged: swap.StagedVolume) -> None:
        self._staged = staged

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._staged.discard()

    def stage(self, check: Check) -> swap.StagedVolume:  # noqa: ARG002 -- as of VolumeStaging
        """What is staged."""
        return self._staged


class VolumeStaging:
    """One restore's volume, as a context: at its end, what was staged and is not live is discarded.

    When it is the time that ends it, what was staged is left to the next restore instead, and
    StagedInPart is raised.
    """

    def __init__(
        self, run: ActiveRun, request: RestoreRequest, backup: StoredBackup, settings: Settings
    ) -> None:
        self._run = run
        self._request = request
        self._backup = backup
        self._settings = settings
        self._paths = checked_paths(request.paths)
        self._leaves_out = not self._paths and settings.restore_exclude_generated
        self._wanted = self._what_is_wanted()
        self._staged: swap.StagedVolume | None = None
        self._reached = Reached()
        self._whole_before = self._total = 0
        """Bytes of files that an earlier restore unpacked, and of all that are wanted."""
        self._is_known = self._is_whole = False
        """Whether it is known what has to be unpacked, and whether all of it is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        staged, self._staged = self._staged, None
        if staged is None:
            return
        if isinstance(error, OutOfTime) and self._leave(staged):
            raise self._told(staged) from error
        staged.discard(self._run.check)

    def recover(self) -> None:
        """Finishes, undoes or discards what earlier restores left, but not what is gone on with."""
        wanted = self._wanted if self._request.into_folder is None else None
        folder, check = Path(self._settings.backup_folder), self._run.check
        self._run.add_notices(swap.recover(folder, wanted, check))
        check()

    def stage(self, check: Check) -> swap.StagedVolume | None:
        """Unpacks what is asked for; None when nothing of the volume is."""
        if not self._request.wants_volume:
            return None
        folder = volume_folder(self._request, self._settings)
        if self._request.into_folder is not None:
            staging.check_empty(folder, self._wanted)
        with self._backup.volume() as volume:
            staged = self._staged = staging.stage(folder, self._wanted)
            try:
                wanted = self._missing(volume, staged, check)
            except NotAsLeft as error:
                self._run.detail("what an earlier restore left is unpacked anew", reason=str(error))
                staged.discard()
                staged = self._staged = staging.stage(folder)
                wanted = self._missing(volume, staged, check)
            with closing(volume.read(wanted)) as read:
                selection.unpack_wanted(
                    wanted,
                    read,
                    staged,
                    paths=self._paths,
                    owner=None,
                    threads=self._settings.backup_volume_threads,
                    progress=self._run.progress_of("volume"),
                    check=check,
                    reached=self._reached,
                )
        self._is_whole = True
        return staged

    def _what_is_wanted(self) -> Wanted | None:
        """None where nothing is gone on with.

        The members of an uploaded backup are in any order, and a later one of a name replaces an
        earlier one: what lies there does not tell how far it came.
        """
        manifest = self._backup.manifest
        if manifest.type is BackupType.UPLOADED:
            return None
        patterns = GENERATED if self._leaves_out else ()
        what = (manifest.run_id, manifest.volume.index_sha256, sorted(self._paths), patterns)
        return Wanted(hashlib.sha256(json.dumps(what).encode()).hexdigest(), self._run.now())

    def _missing(
        self, volume: StoredVolume, staged: swap.StagedVolume, check: Check
    ) -> WantedMembers:
        """What has to be unpacked."""
        self._total = 0
        members: Iterable[IndexedMember] = volume.members()
        if self._paths:
            members = selection.selected(members, self._paths)
        elif self._leaves_out:
            generated = PathPatterns(GENERATED)
            members = selection.without(volume.members, generated, volume.read, check=check)
        members = self._counted(members)
        if staged.begun is None:
            wanted = WantedMembers(members)
            self._is_known = True
            return wanted
        threads = self._settings.backup_volume_threads
        tree = BegunTree(staged.new, staged.begun, threads=threads, check=check)
        wanted = WantedMembers(tree.missing(members))
        self._whole_before = tree.whole_size
        self._is_known = True
        self._run.detail("an earlier restore is gone on with", bytes_there=tree.whole_size)
        return wanted

    def _counted(self, members: Iterable[IndexedMember]) -> Iterator[IndexedMember]:
        for member in members:
            self._total += member.size
            yield member

    @property
    def _reached_size(self) -> int:
        return self._whole_before + self._reached.size

    def _leave(self, staged: swap.StagedVolume) -> bool:
        """Leaves it to the next restore; False where that is of no use, or cannot be."""
        if staged.begun is not None and not self._is_known:
            staged.leave_as_it_was()
            return True
        if self._wanted is None or staged.swapping or self._reached_size < LEAST_UNPACKED:
            return False
        try:
            staged.leave(self._wanted, self._run.now(), self._reached_size)
        except VolumeError as error:
            self._run.detail("what is staged cannot be left", reason=str(error))
            return False
        return True

    def _told(self, staged: swap.StagedVolume) -> OutOfTime:
        before = staged.begun.reached_size if staged.begun is not None else -1
        if not self._is_known:
            return OutOfTime(
                "the function's time was about to end before it was known what is missing of the"
                f" {in_gb(before)} GB that an earlier run unpacked: raise the function's memory, or"
                " give the file system more throughput"
            )
        reached = self._reached_size
        unpacked = f"{in_gb(reached)} of {in_gb(self._total)} GB of the volume unpacked"
        if self._is_whole and reached > before:
            return StagedInPart(
                f"the function's time was about to end with {unpacked}, before the rest was done;"
                f" {_GOES_ON}"
            )
        if self._is_whole:
            return OutOfTime(
                f"the function's time was about to end with {unpacked}, as an earlier run had it"
                ' before: restore the database alone first ("only": "database"), then the volume;'
                " or raise the function's memory"
            )
        if reached <= before:
            return OutOfTime(
                f"the function's time was about to end with {unpacked}, no more than at the end of"
                f" the run before ({in_gb(before)} GB), at {quoted(self._reached.at)}: no run will"
                " finish it; raise the function's memory, or give the file system more throughput"
            )
        return StagedInPart(f"the function's time was about to end with {unpacked}; {_GOES_ON}")
