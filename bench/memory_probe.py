"""`python -m bench.memory_probe <function>`: runs its job, then prints its peak memory in MB."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lcp_backup.requests import CreateRequest, RestoreRequest
from lcp_backup.service import deadline, service

_QUARTER_HOUR = 15 * 60 * 1000


def _create(*, ago: timedelta) -> None:
    request = CreateRequest(time=datetime.now(UTC) - ago)
    service().create(request, deadline(_QUARTER_HOUR))


def _restore() -> None:
    service().restore(RestoreRequest.read({"backup_id": "latest"}), deadline(_QUARTER_HOUR))


def _peak_megabytes() -> int:
    """This program's own peak; ru_maxrss would count what its parent was when it forked."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise LookupError("the kernel does not tell this process's peak memory")


if __name__ == "__main__":
    {
        # Two creates within a minute would be one backup.
        "create": lambda: _create(ago=timedelta(hours=1)),
        "increment": lambda: _create(ago=timedelta()),
        "restore": _restore,
    }[sys.argv[1]]()
    print(_peak_megabytes())
