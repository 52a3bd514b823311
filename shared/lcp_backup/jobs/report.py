"""Report: on demand, whether the rows of a backup and the files of its volume agree.

What a verification finds out of that, without the rest: of the dump only the tables that name files
are loaded, into a schema that is dropped again, and of the volume only the index is read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.pieces import IndexedDump
from lcp_backup.database.scratch import ScratchLoad
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.consistency import ConsistencyReport, notices_of
from lcp_backup.jobs.database_proof import other_under_way
from lcp_backup.jobs.giving_way import GivesWay
from lcp_backup.jobs.load_fan_out import connections_of_one
from lcp_backup.jobs.queued_run import queued, succeeded_before
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.jobs.verified import left_behind
from lcp_backup.jobs.verify import chosen
from lcp_backup.model import BackupType, RunKind
from lcp_backup.requests import ReportRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.verification import Documents


@dataclass(frozen=True)
class ReportResult:
    """What a report answers; the report itself lies beside the manifest."""

    backup_id: str
    run_id: str
    documents: Documents | None = None
    differences: int = 0


def report_on_backup(
    request: ReportRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    timing: RunTiming,
) -> ReportResult:
    """Compares rows and files of a backup, and keeps what was found out beside its manifest.

    Differences are no failure: they are told by a notice. Nothing stays on the server. A run that
    has ended is never done again. Neither metric nor event tells of it: who asked looks at the run.

    Arguments, and what it raises: as `verify_backup`, but what is wrong with the volume's archive.
    """
    with queued(catalog, request.run_id, telemetry.log):
        manifest = chosen(request.backup_id, request.run_id, catalog)
        if succeeded_before(catalog, request.run_id):
            telemetry.log.info("reported already, by this run", run_id=request.run_id)
            return ReportResult(manifest.id, str(request.run_id))
        stored = NewRun(
            catalog,
            RunKind.REPORT,
            manifest.id,
            run_id=request.run_id,
            backup_run_id=manifest.run_id,
        )
        with ActiveRun(stored, telemetry, timing) as run:
            run.add_notices(settings.notices)
            backup = StoredBackup(catalog, manifest)
            consistency = ConsistencyReport(backup, catalog, run.id)
            run.step("loading the rows that name files into a schema of its own")
            if tables := consistency.tables():
                check = GivesWay(run, catalog)
                with backup.volume() as volume:
                    proved = ScratchLoad(
                        server=locate(),
                        dump=IndexedDump(
                            backup.database_segments(),
                            backup.read_database,
                            by_dump_program=manifest.type is not BackupType.UPLOADED,
                            tables=tables,
                            triggers=False,
                        ),
                        whose=catalog.location,
                        dumped_name=manifest.database_facts.name,
                        connections=connections_of_one(settings),
                        under_way=other_under_way(run.id, catalog),
                        foreign_keys=False,
                        look=partial(consistency.look, check, volume),
                        progress=run.progress_of("database"),
                        check=check,
                    ).prove()
                run.add_notices(left_behind(proved))
            else:
                consistency.look_at_nothing()
            report = consistency.keep()
            run.add_notices(notices_of(report))
            run.set_result(
                documents=report.documents, rows=report.rows, differences=report.differences
            )
    return ReportResult(manifest.id, run.id, report.documents, report.differences)
