"""Programs that outlive the command which started them, and are stopped by name, never by guess."""

import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    name: str, command: Sequence[str], state: Path, *, env: Mapping[str, str] | None = None
) -> None:
    """Starts a program in a session of its own; its output goes to `<state>/<name>.log`.

    Spawned without a Popen object, which would complain that the program outlives it.
    """
    log = str(state / f"{name}.log")
    pid = os.posix_spawnp(
        command[0],
        list(command),
        os.environ if env is None else env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    started = _started_at(pid)
    if started is None:
        raise SystemExit(f"{name} ended at once; see {state / f'{name}.log'}")
    _note(state, name).write_text(f"{pid} {started}\n")


def is_running(name: str, state: Path) -> bool:
    """Whether the program that was started under this name still runs."""
    return _pid(name, state) is not None


def stop(name: str, state: Path, *, seconds: float = 30) -> bool:
    """Stops the program and all it started; says whether there was anything to stop."""
    pid = _pid(name, state)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
        end = time.monotonic() + seconds
        while _pid(name, state) is not None and time.monotonic() < end:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.05)
        # Workers that did not listen share the session; a name is never left half alive.
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _note(state, name).unlink(missing_ok=True)
    return pid is not None


def _note(state: Path, name: str) -> Path:
    return state / f"{name}.pid"


def _pid(name: str, state: Path) -> int | None:
    try:
        pid, started = _note(state, name).read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    # A number alone may by now belong to somebody else's process.
    return int(pid) if _started_at(int(pid)) == started else None


def _started_at(pid: int) -> str | None:
    """The kernel's start time of a live process (proc(5), stat, field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]
