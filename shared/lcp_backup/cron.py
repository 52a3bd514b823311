"""Unix cron: parse, check, next fire times, and EventBridge expressions for the same minutes.

Times are UTC. The language is that of `crontab(5)`, with five fields or a shorthand. Programs that
read cron differ at its edges; here they are settled like this:

- When day of month and day of week are both restricted, a day that matches either one fires; only
  `*` is unrestricted. So says `crontab(5)`, and so does croniter, against which the tests hold
  this. Vixie cron itself takes a stepped star (`*/2`) for unrestricted and then wants both to match
  (crontab.guru calls it the cron bug): it fires on fewer of these days, never on others. A field
  that lists every day counts as `*` when the other one holds a star: there, all readers agree.
- `5/15` means from 5 to the end of the field, as on crontab.guru. Not so for the day of week:
  readers differ on whether a week ends on Saturday or on Sunday, so a start with a step is refused.
- `5-5` is refused: cron reads one value, croniter reads every value there is.
- `FRI-SUN` is a range, as `5-7` is; any other range that runs backwards is refused.
- A step that is larger than the field (`*/90` minutes) is refused: it never means what it says.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Self

from lcp_backup.errors import InvalidCron

if TYPE_CHECKING:
    from croniter import croniter  # type: ignore[import-untyped] # it ships no types

ORIGINAL_DEFAULT: Final = "[5-55][0-1] * * *"
"""The original service's spelling: no cron; it reads "a minute 5-55 of an hour 0-1, daily"."""

_SHORTHANDS: Final = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LAST_DAYS: Final = MappingProxyType(
    {
        "JAN": 31,
        "FEB": 29,
        "MAR": 31,
        "APR": 30,
        "MAY": 31,
        "JUN": 30,
        "JUL": 31,
        "AUG": 31,
        "SEP": 30,
        "OCT": 31,
        "NOV": 30,
        "DEC": 31,
    }
)
"""The last day a month can have."""
_ATOM: Final = "[0-9]{1,4}|[A-Za-z]{3}"
_ITEM: Final = re.compile(
    rf"(?:\*|(?P<first>{_ATOM})(?:-(?P<last>{_ATOM}))?)(?:/(?P<step>[0-9]{{1,4}}))?"
)
_SHOWN: Final = 60
_SHORTEST_RANGE: Final = 3
"""From so many neighbours on, a range is shorter than a list."""


@dataclass(frozen=True)
class _Field:
    """One of the five fields: its values are `low` to `high`."""

    steps_to_end: ClassVar[bool] = True
    """Whether `5/15` is understood."""

    name: str
    low: int
    high: int
    allowed: str
    names: Mapping[str, int] = field(default_factory=dict)

    @property
    def all(self) -> frozenset[int]:
        return frozenset(range(self.low, self.high + 1))

    def read(self, text: str) -> frozenset[int]:
        """The values that `text` stands for; raises InvalidCron."""
        items = text.split(",")
        if "*" in items and len(items) > 1:
            raise self._refusal(text, "'*' is every value, so it stands alone")
        return frozenset(value for item in items for value in self._item(item))

    def _item(self, item: str) -> range:
        match = _ITEM.fullmatch(item)
        if match is None:
            raise self._refusal(
                item,
                f"{self.allowed} is allowed, as values (1), lists (1,2), ranges (1-5) and steps"
                " (*/2, 1-5/2)",
            )
        first, last, step = match.group("first", "last", "step")
        stride = 1 if step is None else int(step)
        if not 1 <= stride <= len(self.all):
            raise self._refusal(item, f"a step from 1 to {len(self.all)} is allowed")
        if first is None:
            return range(self.low, self.high + 1, stride)
        start = self._value(first, item)
        if last is not None:
            end = self._last(last, item)
            if start > end or start == self._value(last, item):
                raise self._refusal(item, "a range goes from a lower value to a higher one")
        else:
            if step and not self.steps_to_end:
                raise self._refusal(item, "a step there needs '*' or a range, such as 1-5/2")
            end = self.high if step else start
        return range(start, end + 1, stride)

    def _value(self, atom: str, item: str) -> int:
        value = self.names.get(atom.upper(), -1) if atom.isalpha() else int(atom)
        if not self.low <= value <= self.high:
            raise self._refusal(item, f"{self.allowed} is allowed")
        return value

    def _last(self, atom: str, item: str) -> int:
        return self._value(atom, item)

    def _refusal(self, item: str, reason: str) -> InvalidCron:
        return InvalidCron(f"{self.name} {item[:_SHOWN]!r} is not possible: {reason}")


class _Weekday(_Field):
    """The day of week: 0 and 7 are both Sunday, and come out as 0."""

    steps_to_end: ClassVar[bool] = False

    @property
    def all(self) -> frozenset[int]:
        return frozenset(range(7))

    def read(self, text: str) -> frozenset[int]:
        return frozenset(value % 7 for value in super().read(text))

    def _last(self, atom: str, item: str) -> int:
        # A range to Sunday ends the week, though the name SUN alone stands for 0.
        return self._value(atom, item) or (7 if atom.isalpha() else 0)


_MINUTE: Final = _Field("minute", 0, 59, "0 to 59")
_HOUR: Final = _Field("hour", 0, 23, "0 to 23")
_DAY: Final = _Field("day of month", 1, 31, "1 to 31")
_MONTH: Final = _Field(
    "month",
    1,
    12,
    "1 to 12 or JAN to DEC",
    {name: number for number, name in enumerate(_LAST_DAYS, start=1)},
)
_WEEKDAY: Final = _Weekday(
    "day of week",
    0,
    7,
    "0 to 7 (0 and 7 are Sunday) or SUN to SAT",
    {name: number for number, name in enumerate(_WEEKDAYS)},
)


@dataclass(frozen=True)
class CronExpression:
    """A checked cron schedule that fires at least once in eight years."""

    text: str
    """As it was given, without the blanks around it."""
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    days: frozenset[int] | None
    """Days of the month that fire."""
    weekdays: frozenset[int] | None
    """Days of the week that fire, 0 (Sunday) to 6; with `days` too, either is enough. Neither
    means every day."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads five fields or a shorthand.

        Raises InvalidCron, in one sentence that names the field, the value and what is allowed,
        also for what never fires (31 February), for `@reboot` and for the extensions of other
        schedulers (seconds, years, `?`, `L`, `W`, `#`, `H`, `R`).
        """
        text = text.strip()
        if not text.isascii():
            raise InvalidCron(f"{text[:_SHOWN]!r} holds characters that are not ASCII")
        fields = _spelled_out(text).split()
        if len(fields) != 5:  # noqa: PLR2004 -- the five fields of cron, named in the sentence
            raise InvalidCron(
                f"{text[:_SHOWN]!r} has {len(fields)} fields, and five are needed: minute, hour,"
                " day of month, month, day of week"
            )
        minute, hour, day, month, weekday = fields
        minutes = _MINUTE.read(minute)
        hours = _HOUR.read(hour)
        months = _MONTH.read(month)
        days, weekdays = _firing_days(day, weekday, months)
        return cls(text, minutes, hours, months, days, weekdays)

    @property
    def spelled_out(self) -> str:
        """As it was given, in five fields also where that was a shorthand."""
        return _spelled_out(self.text)

    def eventbridge(self) -> tuple[str, ...]:
        """One or two `cron(...)` schedule expressions that together fire at the same minutes.

        Two, when day of month and day of week are both restricted: EventBridge wants `?` in one of
        them. On a day that matches both, both fire in the same minute. That is harmless, because
        the slot is the minute: two events are one backup.

        Written in as much of the language as all its readers agree: lists, ranges and `*`,
        days of the week by name, no step. The longest has about 240 characters; a rule takes 256.

        Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html
        """
        pairs: list[tuple[str, str]] = []
        if self.days is not None:
            pairs.append((_written(self.days, _DAY), "?"))
        if self.weekdays is not None:
            pairs.append(("?", _written(self.weekdays, _WEEKDAY)))
        minutes = _written(self.minutes, _MINUTE)
        hours = _written(self.hours, _HOUR)
        months = _written(self.months, _MONTH)
        return tuple(
            f"cron({minutes} {hours} {day} {months} {weekday} *)"
            for day, weekday in pairs or [("*", "?")]
        )

    def next_fire_times(self, after: datetime, count: int) -> list[datetime]:
        """The first `count` minutes later than `after` (aware) that fire, in order, in UTC."""
        fires = self._from(after.astimezone(UTC))
        return [fires.get_next(datetime) for _ in range(count)]

    def last_fire_time(self, until: datetime, *, since: datetime) -> datetime | None:
        """The latest minute from `since` to `until` (aware) that fires, in UTC; None if none."""
        # The library looks for what is earlier than its start.
        start = until.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        last: datetime = self._from(start).get_prev(datetime)
        return last if last >= since else None

    def _from(self, start: datetime) -> "croniter":
        # Here, because it costs a fifth of all that most functions import.
        from croniter import croniter  # noqa: PLC0415

        # From the values, so that nothing of the language is read in two ways.
        day = _written(self.days, _DAY) if self.days is not None else "*"
        weekday = _written(self.weekdays, _WEEKDAY) if self.weekdays is not None else "*"
        months = _written(self.months, _MONTH)
        fields = _written(self.minutes, _MINUTE), _written(self.hours, _HOUR), day, months, weekday
        return croniter(" ".join(fields), start, max_years_between_matches=9)


def is_original_default(text: str) -> bool:
    """Whether `text` is the original service's default, also as its markdown escapes it."""
    return "".join(text.replace("\\*", "*").split()) == "".join(ORIGINAL_DEFAULT.split())


def default_create_schedule(seed: str) -> str:
    """The create schedule drawn for `seed` (a stack's id): daily, minute 5-55 of hour 0 or 1, UTC.

    Always the same for one seed, and spread evenly over seeds, so that the sites of a region do not
    all dump their databases in the same minute. Source of the bounds: the original service's table.
    """
    drawn = int.from_bytes(hashlib.sha256(seed.encode()).digest())
    hour, minute = divmod(drawn % (2 * 51), 51)
    return f"{5 + minute} {hour} * * *"


def default_verify_schedule(seed: str) -> str:
    """The verify schedule drawn for `seed`: weekly, between 02:05 and 05:55 UTC, on any weekday.

    After the hours of the drawn backups, and drawn as those are.
    """
    drawn = int.from_bytes(hashlib.sha256(f"verify {seed}".encode()).digest())
    times, minute = divmod(drawn % (7 * 4 * 51), 51)
    weekday, hour = divmod(times, 4)
    return f"{5 + minute} {2 + hour} * * {weekday}"


def _spelled_out(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return _SHORTHANDS[text.lower()]
    except KeyError:
        known = ", ".join(_SHORTHANDS)
        raise InvalidCron(f"{text[:_SHOWN]!r} is no schedule; {known} are allowed") from None


def _firing_days(
    day: str, weekday: str, months: frozenset[int]
) -> tuple[frozenset[int] | None, frozenset[int] | None]:
    """Which of the two day fields restrict; None for one that does not."""
    days: frozenset[int] | None = _DAY.read(day)
    weekdays: frozenset[int] | None = _WEEKDAY.read(weekday)
    if day == "*" or (days == _DAY.all and "*" in weekday):
        days = None
    if weekday == "*" or (weekdays == _WEEKDAY.all and "*" in day):
        weekdays = None
    if days == _DAY.all or weekdays == _WEEKDAY.all:
        return None, None
    last_days = list(_LAST_DAYS.values())
    if days is not None and min(days) > max(last_days[month - 1] for month in months):
        if weekdays is None:
            raise InvalidCron(
                f"day of month {day[:_SHOWN]!r} never comes in the months given, so this would"
                " never fire"
            )
        days = None
    return days, weekdays


def _written(values: Iterable[int], spec: _Field) -> str:
    """The values as EventBridge takes them, in lists and ranges."""
    if values == spec.all:
        return "*"
    stretches: list[list[int]] = []
    for value in sorted(values):
        if stretches and value == stretches[-1][-1] + 1:
            stretches[-1].append(value)
        else:
            stretches.append([value])
    texts: list[str] = []
    for stretch in stretches:
        labels = [_WEEKDAYS[value] if spec is _WEEKDAY else str(value) for value in stretch]
        texts += [f"{labels[0]}-{labels[-1]}"] if len(stretch) >= _SHORTEST_RANGE else labels
    return ",".join(texts)
