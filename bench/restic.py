"""restic, which people use for folders like these: a repository of its own on the same disk."""

import os
import subprocess
from pathlib import Path

from bench.rounds import need


class Restic:
    """A repository that backs one folder up, with restic's own defaults.

    Its password, cache and repository are its own; what the machine has of restic's is not used.
    Raises ProgramMissing when restic is not installed.
    """

    def __init__(self, work: Path) -> None:
        need("restic")
        # Nobody's secret: restic has no repositories without a password.
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(work),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_REPOSITORY": str(work / "repository"),
            "RESTIC_CACHE_DIR": str(work / "cache"),
        }
        self.version = self._run("version").split()[1]
        self._run("init")

    def back_up(self, folder: Path) -> None:
        """Backs the folder up; what did not change since the last time is not read."""
        self._run("backup", "--quiet", "--host", "bench", str(folder))

    def restore(self, target: Path) -> None:
        """Restores the newest backup into an empty folder."""
        self._run("restore", "latest", "--quiet", "--target", str(target))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["restic", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"restic {arguments[0]}: {done.stderr[-500:]}")
        return done.stdout
