"""`make setup` says what is in its way, and `make clean` leaves nothing that was made."""

import shutil
import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).parents[2] / "local" / "setup.sh"


def test_a_clone_below_a_path_with_a_space_is_refused_with_the_reason(tmp_path: Path) -> None:
    # Without the file `.python-version` it goes no further, whatever it thinks of the space.
    clone = tmp_path / "my clone"
    (clone / "local").mkdir(parents=True)
    shutil.copy(_SCRIPT, clone / "local")
    done = subprocess.run(
        ["sh", "local/setup.sh"], cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"the path of this folder has a space in it ({clone})" in done.stderr


def test_clean_deletes_what_an_installation_of_the_command_line_leaves() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "clean"],
        cwd=_SCRIPT.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"cli/build", "cli/*.egg-info"} <= set(done.stdout.split())
