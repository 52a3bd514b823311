"""`python -m bench.memory_probe create|restore`: one function's job, then its peak memory in MB."""

import sys
from pathlib import Path

from lcp_backup.requests import CreateRequest, RestoreRequest
from lcp_backup.service import deadline, service

_QUARTER_HOUR = 15 * 60 * 1000


def _create() -> None:
    service().create(CreateRequest.read({}), deadline(_QUARTER_HOUR))


def _restore() -> None:
    service().restore(RestoreRequest.read({"backup_id": "latest"}), deadline(_QUARTER_HOUR))


def _peak_megabytes() -> int:
    """This program's own peak; ru_maxrss would count what its parent was when it forked."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise LookupError("the kernel does not tell this process's peak memory")


if __name__ == "__main__":
    {"create": _create, "restore": _restore}[sys.argv[1]]()
    print(_peak_megabytes())
