"""A run that takes no lease, works on the site's database server, and gives way to a restore."""

import threading
from datetime import timedelta
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.errors import LeaseHeld
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.model import RunKind

LOOKS_FOR_RESTORES_EVERY: Final = timedelta(seconds=15)


class GivesWay:
    """To be called often, from any thread: raises what ends the run.

    As `ActiveRun.check`; and LeaseHeld when a restore began, which needs the server.
    """

    def __init__(self, run: ActiveRun, catalog: Catalog) -> None:
        self._run = run
        self._catalog = catalog
        self._looks_next = catalog.now()
        self._lock = threading.Lock()

    def __call__(self) -> None:
        self._run.check()
        with self._lock:
            now = self._catalog.now()
            if now < self._looks_next:
                return
            self._looks_next = now + LOOKS_FOR_RESTORES_EVERY
        holder = self._catalog.lease.holder()
        if holder is not None and holder.kind is RunKind.RESTORE:
            raise LeaseHeld(
                f"restore run {holder.run_id} is under way and needs the database server: this"
                " run gives way to it; ask for it anew, or wait for the next one",
                kind=holder.kind,
                run_id=holder.run_id,
                backup_id=holder.backup_id,
            )
