"""A site beside the live one: staged from a backup, and then swapped in or thrown away."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Self

from lcp_backup.catalog import Catalog
from lcp_backup.database import staged_schema
from lcp_backup.database.accounts import lasting_loader
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.scripts import Script
from lcp_backup.database.shared_load import SharedLoad, SharedLoader
from lcp_backup.database.staged_schema import (
    Accounts,
    IndexedDump,
    Loaded,
    SchemaLoad,
    Scope,
    StagedDatabase,
)
from lcp_backup.errors import BackupError, InvalidRequest, RestoredInPart
from lcp_backup.intake.scripts import take_scripts
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.load_fan_out import connections_of_one
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.jobs.staged_volume import AlreadyStaged, VolumeStaging
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import BackupType, Manifest, Notice
from lcp_backup.requests import RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.volume import swap
from lcp_backup.volume.mounts import check_mounted
from lcp_backup.volume.paths import checked_paths

AS_IT_WAS: Final = "as-it-was"
"""What a restore's record says of the live site before anything of it is touched; and then:"""
SWAPPING: Final = "swapping"
REPLACED: Final = "replaced"


class StagedSite:
    """What a restore asked for, whole and checked, beside the live site, which is as it was.

    A caller may swap it in or not, and then discards it; as a context it is discarded at the end of
    the block. Where that is ended by OutOfTime before the swap, the volume may be left to the next
    restore: then StagedInPart is raised.
    """

    def __init__(
        self,
        run: ActiveRun,
        swap_database: Callable[[], Loaded] | None,
        volume: swap.StagedVolume | None,
        *,
        paths: tuple[str, ...],
        kept: tuple[str, ...],
        undo: ExitStack,
        changes_live: bool = True,
    ) -> None:
        self._run = run
        self._changes_live = changes_live
        self._swap_database = swap_database
        self._volume = volume
        self._paths = paths
        self.kept = kept
        """Where a swap keeps what was live before, when that was asked for."""
        self._undo = undo
        self._database_is_touched = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.__exit__(kind, error, trace)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What a reader of the run should know of the volume; complete after `discard`."""
        return () if self._volume is None else self._volume.notices

    def swap(self) -> Loaded | None:
        """Makes it the live site, under a lease that is renewed first.

        Answers what was loaded into the database, when that was asked for. A swap that is killed is
        finished by the next restore. Raises RestoredInPart, LeaseLost, OutOfTime, StorageError,
        DatabaseError, VolumeError and their kinds.
        """
        self._run.step("swapping")
        self._run.confirm()
        # (Of an earlier delivery that was killed in its swap, this says so.)
        before = self._run.result.get("live_site", AS_IT_WAS)
        try:
            if self._changes_live:
                self._run.set_result(live_site=SWAPPING)
                self._run.write_down()
            return self._swap_both()
        except BaseException:
            if self._is_as_it_was:
                self._run.set_result(live_site=str(before))
            raise

    @property
    def _is_as_it_was(self) -> bool:
        """Whether a swap that failed has touched nothing that is live, or has put it back."""
        return not self._database_is_touched and (self._volume is None or self._volume.is_as_it_was)

    def _swap_both(self) -> Loaded | None:
        loaded = None
        if self._swap_database is not None:
            self._database_is_touched = True
            try:
                loaded = self._swap_database()
            except RestoredInPart:
                # The rows are the backup's now, so the files they name must be too.
                self._swap_volume()
                raise
            except BackupError as error:
                self._database_is_touched = not error.undone
                raise
        self._swap_volume()
        return loaded

    def discard(self) -> None:
        """Removes what is not live: without a swap what was staged, after it what was live before.

        Harmless when called again. Raises LoadFailed, DatabaseUnreachable, VolumeError.
        """
        self._undo.close()

    def _swap_volume(self) -> None:
        if self._volume is None:
            return
        if self._paths:
            self._volume.swap_selection(self._paths)
        else:
            self._volume.swap()


def loads_beside(request: RestoreRequest, settings: Settings) -> bool:
    """Whether a database is loaded beside the live one, and not into its place."""
    overwrites = request.is_whole and settings.restores_overwrite
    return request.wants_database and not overwrites


def replaced_database(request: RestoreRequest, live: DatabaseEndpoint) -> DatabaseEndpoint:
    """The database that a restore replaces, or makes; raises InvalidRequest."""
    if request.into_database is None:
        return live
    endpoint = replace(live, name=request.into_database)
    if endpoint.name.lower() == live.name.lower():
        raise InvalidRequest(
            f"into_database is the live database {endpoint.name!r}: leave it out, or name another"
        )
    return endpoint


def check_restorable(request: RestoreRequest, manifest: Manifest, settings: Settings) -> None:
    """Makes sure of what can be told before anything is touched.

    Raises InvalidRequest; VolumeError when the file system is not mounted.
    """
    if request.wants_volume:
        check_mounted(settings.backup_folder, settings.file_system_mount_path)
    manifest.left_out.check_tables(request.tables)
    request.check_can_keep(restores_overwrite=settings.restores_overwrite)
    request.check_can_run_scripts(restores_overwrite=settings.restores_overwrite)


@dataclass
class SiteStaging:
    """One site on its way to being staged, under the lease of `run`.

    Methods raise InvalidRequest, LeaseLost, OutOfTime, StagedInPart, ArchiveDamaged,
    ArchiveRefused, DatabaseError, VolumeError, StorageError and their kinds.
    """

    run: ActiveRun
    request: RestoreRequest
    backup: StoredBackup
    settings: Settings
    catalog: Catalog
    """Holds the scripts that are asked for."""
    live: DatabaseEndpoint
    """The site's database."""
    accounts: Accounts
    """Those that an operator made for restores."""
    unpacked: swap.StagedVolume | None = None
    """The volume where it is staged already; discarded with the rest."""
    loaded: Loaded | None = None
    """Tells of the database where that is staged already, by `load`; discarded with the rest."""
    kept: list[str] = field(default_factory=list)

    def load(self, check: Check, *, as_written: bool = False) -> StagedDatabase:
        """Loads the database alone, for a `stage` of the same run in another process.

        Arguments: `check` is called again and again; `as_written` where it is known that the dump's
        order matters.
        """
        self._say_where()
        return self._schema_load(check).stage(as_written=as_written)

    def share_out(self, check: Check) -> SharedLoad:
        """Begins to load the database, for several processes of the run to go on with.

        Raises also OrderMattersError, when only one may load it.
        """
        self._say_where()
        return self._schema_load(check).share_out(self.run.id)

    def shared_loader(self, load: SharedLoad, connections: int, check: Check) -> SharedLoader:
        """One of these processes."""
        live = replaced_database(self.request, self.live)
        return SharedLoader(
            endpoint=lasting_loader(live, self.accounts.loader, self.run.id),
            load=load,
            dump=self.dump(),
            dumped_name=self.backup.manifest.database_facts.name,
            connections=connections,
            progress=self.run.progress_of("database"),
            check=check,
        )

    def complete(self, load: SharedLoad, check: Check) -> StagedDatabase:
        """Loads what is left once they are done."""
        return self._schema_load(check).complete(load)

    def stage(self) -> StagedSite:
        """Loads and unpacks what is asked for beside the live site, and checks it to its end.

        Finishes or undoes first what an earlier restore left. A failure leaves nothing staged, but
        for StagedInPart: then the next restore of the same goes on with the volume. With the
        strategy OVERWRITE, the database of a whole restore is only read to its end: the swap then
        replaces what is live in place.
        """
        request = self.request
        self._say_where()
        check_restorable(request, self.backup.manifest, self.settings)
        files: VolumeStaging | AlreadyStaged
        if self.unpacked is not None:
            files = AlreadyStaged(self.unpacked)
            if self.loaded is None and request.wants_database:
                self.run.step("loading the database beside the live one")
        else:
            files = VolumeStaging(self.run, request, self.backup, self.settings)
            self.run.step("finishing or undoing what an earlier restore left")
            # (Of the database, `stage` and `overwrite` do the same first.)
            files.recover()
            self.run.step("loading the database and unpacking the volume beside the live site")
        with ExitStack() as undo:
            undo.enter_context(files)
            swap_database, volume = side_by_side(
                lambda check: self._prepare_database(undo, check),
                files.stage,
                self.run.check,
            )
            if volume is not None and request.keep_previous and request.into_folder is None:
                self.kept.append(str(volume.keep_previous(self._label)))
            # Another folder was empty, so that there is nothing to replace piece by piece.
            replaced_alone = () if request.into_folder is not None else request.paths
            return StagedSite(
                self.run,
                swap_database,
                volume,
                paths=checked_paths(replaced_alone),
                kept=tuple(self.kept),
                undo=undo.pop_all(),
                changes_live=request.changes_live,
            )

    def _say_where(self) -> None:
        manifest = self.backup.manifest
        self.run.detail(
            "the backup is restored to here",
            asked_for=self.request.backup_id,
            made_by=manifest.type,
            dumped_from=manifest.database_facts.server_version,
            strategy=self.settings.backup_restore_strategy,
            host=self.live.host,
            port=self.live.port,
            tls=self.live.tls,
            database=self.request.into_database or self.live.name,
            folder=self.request.into_folder or self.settings.backup_folder,
            connections=self.connections(),
        )

    @property
    def _label(self) -> str:
        """What makes the names under which something is kept this run's own."""
        return f"{self.run.started_at:%Y%m%d%H%M%S}"

    # --- the database ---------------------------------------------------------

    def _prepare_database(self, undo: ExitStack, check: Check) -> Callable[[], Loaded] | None:
        """Answers what swaps it in."""
        if not self.request.wants_database:
            return None
        if not loads_beside(self.request, self.settings):
            # The live database is not touched before its replacement was read to the end.
            for _ in self.backup.read_database(self.backup.database_segments()):
                check()
            return self._overwrite
        if self.loaded is None:
            staged = self._schema_load(check).stage()
        else:
            endpoint = replaced_database(self.request, self.live)
            staged = StagedDatabase(endpoint, self.loaded, self._scope(), self.accounts)
        undo.callback(staged.discard)
        return staged.swap

    def _schema_load(self, check: Check) -> SchemaLoad[IndexedDump]:
        endpoint = replaced_database(self.request, self.live)
        if self.request.into_database is not None:
            staged_schema.check_empty(endpoint)
        scripts: tuple[Script, ...] = ()
        if self.request.scripts:
            stored = self.catalog.scripts.read(self.settings.restore_scripts)
            scripts = take_scripts(stored, check)
        return SchemaLoad(
            endpoint,
            self.dump(),
            dumped_name=self.backup.manifest.database_facts.name,
            connections=self.connections(),
            progress=self.run.progress_of("database"),
            check=check,
            scope=self._scope(),
            scripts=scripts,
            given=self.accounts,
        )

    def _scope(self) -> Scope:
        """What of it is replaced."""
        if self.request.into_database is not None:
            return Scope()
        keep_in = None
        if self.request.keep_previous:
            keep_in = f"{self.live.name}_{self._label}"
            self.kept.append(keep_in)
        return Scope(frozenset(self.request.tables) or None, keep_in)

    def _overwrite(self) -> Loaded:
        return staged_schema.overwrite(
            self.live,
            self.dump(),
            dumped_name=self.backup.manifest.database_facts.name,
            connections=self.connections(),
            progress=self.run.progress_of("database"),
            check=self.run.check,
            given=self.accounts,
        )

    def dump(self) -> IndexedDump:
        """What of the backup's dump is loaded."""
        return IndexedDump(
            self.backup.database_segments(),
            self.backup.read_database,
            by_dump_program=self.backup.manifest.type is not BackupType.UPLOADED,
            tables=self.request.tables or None,
        )

    def connections(self) -> int:
        """Over how many connections one process loads rows."""
        return connections_of_one(self.settings)
