"""Work in a process of its own."""

import multiprocessing
import os
import resource
import subprocess
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path


def in_process(work: Callable[[], None]) -> int:
    """Runs the work in a process of its own; answers its exit code."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def in_child(
    work: Callable[[], object], *, descriptors: int | None = None, as_nobody: bool = False
) -> None:
    """Does the work in a process of its own, and fails as it does.

    Args:
        descriptors: so many more than it has it may open.
        as_nobody: without root's rights, where it has them; then `Path.cwd()` is a folder of its.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            if descriptors is not None:
                used = len(list(Path("/proc/self/fd").iterdir()))
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + descriptors,) * 2)
            with tempfile.TemporaryDirectory(dir="/tmp") as own:
                os.chdir(own)
                if as_nobody and os.geteuid() == 0:
                    os.chown(own, 65534, 65534)
                    os.setegid(65534)
                    os.seteuid(65534)
                try:
                    work()
                finally:
                    os.seteuid(os.getuid())
                    subprocess.run(["rm", "-rf", own], check=True)
                    Path(own).mkdir()
        except BaseException:  # noqa: BLE001 -- told by the parent
            os.write(writer, traceback.format_exc().encode()[-60_000:])
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        trace = told.read()
    status = os.waitpid(child, 0)[1]
    assert status == 0, trace
