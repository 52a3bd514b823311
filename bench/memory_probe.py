"""`python -m bench.memory_probe <function>`: runs its job, then prints what that took, as JSON."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lcp_backup.requests import CreateRequest, RestoreRequest, VerifyRequest
from lcp_backup.service import deadline, service

_QUARTER_HOUR = 15 * 60 * 1000


def _create(*, ago: timedelta) -> dict[str, Any]:
    request = CreateRequest(time=datetime.now(UTC) - ago)
    return service().create(request, deadline(_QUARTER_HOUR))


def _restore() -> dict[str, Any]:
    request = RestoreRequest.read({"backup_id": "latest"})
    return service().restore(request, deadline(_QUARTER_HOUR))


def _verify() -> dict[str, Any]:
    return service().verify(VerifyRequest(), deadline(_QUARTER_HOUR))


def _peak_megabytes() -> int:
    """This program's own peak; ru_maxrss would count what its parent was when it forked."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise LookupError("the kernel does not tell this process's peak memory")


if __name__ == "__main__":
    began = time.perf_counter()
    answer = {
        # Two creates within a minute would be one backup.
        "create": lambda: _create(ago=timedelta(hours=1)),
        "increment": lambda: _create(ago=timedelta()),
        "restore": _restore,
        "verify": _verify,
    }[sys.argv[1]]()
    took = {
        "seconds": time.perf_counter() - began,
        "megabytes": _peak_megabytes(),
        "read_bytes": answer.get("read_bytes", 0),
    }
    print(json.dumps(took))
