"""Which backups of many are kept while all of them are within their retention."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from lcp_backup.setting_values import Period

_PERIODS: Final[Mapping[Period, Callable[[datetime], tuple[int, ...]]]] = {
    Period.HOURLY: lambda slot: (slot.toordinal(), slot.hour),
    Period.DAILY: lambda slot: (slot.toordinal(),),
    Period.WEEKLY: lambda slot: slot.isocalendar()[:2],
}
"""The period that a moment (UTC) lies in; weeks are ISO's, and begin on Monday."""


def kept_by(rules: Mapping[Period, int], slots: Mapping[str, datetime]) -> Collection[str]:
    """The backups that rules keep: of each of so many periods the newest.

    Only periods that have a backup count, the one that is not over yet among them, and each rule
    counts for itself: a backup may be kept by several. This is what `restic forget` and
    `borg prune` call keeping.

    Args:
        rules: of how many periods of each kind one is kept, at least 1; none keeps nothing.
        slots: the minute of each backup (aware), by its id.
    """
    newest_first = sorted(slots, key=lambda backup_id: (slots[backup_id], backup_id), reverse=True)
    kept: set[str] = set()
    for period, most in rules.items():
        newest: dict[tuple[int, ...], str] = {}
        for backup_id in newest_first:
            newest.setdefault(_PERIODS[period](slots[backup_id].astimezone(UTC)), backup_id)
        kept.update(list(newest.values())[:most])
    return kept
