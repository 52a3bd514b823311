"""A server that asks for a file of the function's gets none, whichever query it asks at."""

from pathlib import Path

import pytest

from lcp_backup.database.endpoint import Flavour
from lcp_backup.errors import BackupError
from tests.integration.attacks.rogue import rogue_server
from tests.support.road import Roads

_SECRET = b"what-only-this-function-may-read"


@pytest.mark.parametrize(
    "word", [b"INSERT", b"LOAD DATA", b"CREATE TABLE", b"SET ", b"SELECT", b"RENAME", b"DROP"]
)
def test_no_file_but_the_announced_one_is_given(roads: Roads, tmp_path: Path, word: bytes) -> None:
    """MariaDB only: the client's side is the same for both, and MySQL's login needs TLS."""
    secret = tmp_path / "secret"
    secret.write_bytes(_SECRET)
    road = roads.of(Flavour.MARIADB)
    with rogue_server(
        road.world.server.port, str(secret), lambda query: query.upper().startswith(word)
    ) as rogue:
        try:
            road.restore_through(rogue.port)
        except BackupError:
            pass
        except Exception as error:  # noqa: BLE001 -- what is raised is what is judged
            pytest.fail(f"an error of no kind of ours: {error!r}")
    assert rogue.asked
    assert _SECRET not in rogue.given
    assert road.honest_restore() == []
