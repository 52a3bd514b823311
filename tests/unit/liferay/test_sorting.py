"""More records than are held at once come back in order."""

import errno
import random
from typing import Any

import pytest

from lcp_backup.errors import VolumeError
from lcp_backup.liferay import sorting
from lcp_backup.liferay.sorting import in_order


@pytest.mark.parametrize("count", [0, 1, 4, 5, 99])
def test_all_come_back_in_order_however_many_fit_into_memory(count: int) -> None:
    records: list[list[Any]] = [[f"{it:03}\udcff\n", it, None, True] for it in range(count)]
    mixed = random.Random(1).sample(records, count)
    with in_order(mixed, lambda: None, in_run=4) as found:
        assert list(found) == records


def test_a_temporary_folder_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sorting, "TemporaryFile", full)
    with (
        pytest.raises(VolumeError, match="No space left on device.*ephemeral storage"),
        in_order([[1], [2], [3]], lambda: None, in_run=2),
    ):
        pass
