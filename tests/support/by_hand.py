"""What an operator types into a shell, with a bucket that is a folder."""

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = Path(__file__).parents[2] / "docs" / "recover_volume.py"
_AWS = r"""#!/bin/sh
# aws s3api get-object --bucket bucket --key KEY [--range bytes=FIRST-LAST] FILE
set -eu
[ "$1 $2 $3 $4 $5" = "s3api get-object --bucket bucket --key" ]
object=$BUCKET/$6
shift 6
[ -e "$object" ] || { echo "NoSuchKey: $object" >&2; exit 254; }
if [ "$1" = --range ]; then
  echo "$2" >>"$BUCKET.ranges"
  span=${2#bytes=}
  tail -c +$((${span%-*} + 1)) "$object" | head -c $((${span#*-} - ${span%-*} + 1)) >"$3"
else
  cat "$object" >"$1"
fi
"""


def by_hand(
    commands: str, cwd: Path, bucket: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs commands where docs/recover_volume.py lies, too.

    Args:
        bucket: what `s3://bucket` is.
        variables: those of the commands.
    """
    programs = bucket.parent / "programs"
    if not programs.exists():
        programs.mkdir()
        (programs / "aws").write_text(_AWS)
        (programs / "aws").chmod(0o755)
        (programs / "python3").symlink_to(sys.executable)
    (cwd / _SCRIPT.name).write_bytes(_SCRIPT.read_bytes())
    return subprocess.run(
        ["bash", "-euc", commands],
        cwd=cwd,
        env={
            "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "BUCKET": os.fspath(bucket),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
