"""Cron: what is understood, what is refused, and that the rules fire at exactly the same minutes.

Three opinions are heard: croniter, cronsim (which follows Debian's cron), and an evaluator of
EventBridge expressions that is written here from AWS's documentation and shares nothing with
cron.py.
"""

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from croniter import CroniterBadDateError, croniter  # type: ignore[import-untyped] # it ships no types
from cronsim import CronSim
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lcp_backup.cron import (
    ORIGINAL_DEFAULT,
    CronExpression,
    default_create_schedule,
    default_verify_schedule,
    is_original_default,
)
from lcp_backup.errors import InvalidCron

# Two years and two months, with a leap day in them.
FIRST = datetime(2027, 1, 1, tzinfo=UTC)
LAST = datetime(2029, 3, 1, tzinfo=UTC)
ALL_DAYS = [(FIRST + timedelta(days=n)).date() for n in range((LAST - FIRST).days)]

type Minutes = dict[date, int]
"""For each day that fires, a number whose bit n says that minute n of the day does."""


# --- EventBridge, from https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html

WEEKDAY_NUMBERS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}


def eventbridge_field(text: str, low: int, high: int) -> set[int]:
    """A field of numbers; only what the documentation's table allows for every field."""
    if text == "*":
        return set(range(low, high + 1))
    values: set[int] = set()
    for item in text.split(","):
        assert re.fullmatch(r"\d+(-\d+)?", item), f"{item!r} is not documented"
        start, _, end = item.partition("-")
        assert low <= int(start) <= int(end or start) <= high, f"{item!r} is out of range"
        values.update(range(int(start), int(end or start) + 1))
    return values


def eventbridge_minutes(expression: str) -> Minutes:
    """When a rule with this schedule expression fires."""
    assert len(expression) <= 256
    match = re.fullmatch(r"cron\((.*)\)", expression)
    assert match is not None
    minute, hour, day, month, weekday, year = match[1].split(" ")
    assert (day == "?") != (weekday == "?"), "exactly one of the day fields must be '?'"
    assert year == "*"
    assert "/" not in weekday
    for name, number in WEEKDAY_NUMBERS.items():
        weekday = weekday.replace(name, str(number))
    months = eventbridge_field(month, 1, 12)
    days = None if day == "?" else eventbridge_field(day, 1, 31)
    weekdays = None if weekday == "?" else eventbridge_field(weekday, 1, 7)
    bits = 0
    for h in eventbridge_field(hour, 0, 23):
        for m in eventbridge_field(minute, 0, 59):
            bits |= 1 << (h * 60 + m)
    return {
        when: bits
        for when in ALL_DAYS
        if when.month in months
        and (days is None or when.day in days)
        and (weekdays is None or (when.weekday() + 1) % 7 + 1 in weekdays)
    }


def rule_minutes(expression: CronExpression) -> Minutes:
    """When any of the rules fires."""
    fired: Minutes = {}
    for rule in expression.eventbridge():
        for when, bits in eventbridge_minutes(rule).items():
            fired[when] = fired.get(when, 0) | bits
    return fired


# --- the other opinions ---------------------------------------------------------------------------


def croniter_fires(text: str, start: datetime, end: datetime) -> list[datetime]:
    times: list[datetime] = []
    iterator = croniter(text, start - timedelta(minutes=1), max_years_between_matches=9)
    while (moment := iterator.get_next(datetime)) < end:
        times.append(moment)
    return times


def cronsim_fires(text: str, start: datetime, end: datetime) -> list[datetime]:
    times: list[datetime] = []
    iterator = CronSim(text, start - timedelta(minutes=1))
    while (moment := next(iterator, end)) < end:
        times.append(moment)
    return times


def bits_of(times: list[datetime]) -> int:
    return sum(1 << (moment.hour * 60 + moment.minute) for moment in times)


def assert_fires_as(opinion: str, text: str, rules: Minutes) -> None:
    """Holds every day of the window, and every minute of a firing day, against another opinion.

    A cron schedule fires at the same minutes on each of its days, so that the days (asked with the
    time fields pinned to midnight) and the minutes of one firing day are everything; going through
    all the minutes one by one takes seconds per expression, and is done below for the edges.
    """
    fires = croniter_fires if opinion == "croniter" else cronsim_fires
    day_fields = text.split()[2:]
    days = [moment.date() for moment in fires(" ".join(["0 0", *day_fields]), FIRST, LAST)]
    assert sorted(rules) == days, text
    midnight = datetime(days[-1].year, days[-1].month, days[-1].day, tzinfo=UTC)
    minutes = bits_of(fires(text, midnight, midnight + timedelta(days=1)))
    assert set(rules.values()) == {minutes}, text


# --- random expressions ---------------------------------------------------------------------------

MONTH_NAMES = [date(2027, month, 1).strftime("%b").upper() for month in range(1, 13)]
WEEKDAY_NAMES = list(WEEKDAY_NUMBERS)


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: list[str] | None = None) -> str:
    """A field in any of the forms of cron."""

    def label(value: int) -> str:
        if names and draw(st.booleans()):
            name = names[(value - low) % len(names)]
            return draw(st.sampled_from([name, name.lower(), name.capitalize()]))
        return str(value)

    def item() -> str:
        form = draw(st.sampled_from(["value", "value", "range", "stepped range", "stepped star"]))
        step = draw(st.integers(1, min(high, 30)))
        if form == "stepped star":
            return f"*/{step}"
        start = draw(st.integers(low, high - 1))
        if form == "value":
            return label(start)
        end = draw(st.integers(start + 1, high))
        span = f"{label(start)}-{label(end)}"
        return span if form == "range" else f"{span}/{step}"

    if draw(st.integers(0, 3)) == 0:
        return "*"
    return ",".join(item() for _ in range(draw(st.integers(1, 3))))


expressions = st.tuples(
    fields(0, 59),
    fields(0, 23),
    fields(1, 31),
    fields(1, 12, MONTH_NAMES),
    fields(0, 7, WEEKDAY_NAMES),
).map(" ".join)

as_promised = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def parse_or_none(text: str) -> CronExpression | None:
    """None when it never fires, and croniter agrees."""
    try:
        return CronExpression.parse(text)
    except InvalidCron as refusal:
        reason = str(refusal)
    assert "never comes" in reason
    with pytest.raises(CroniterBadDateError):
        croniter_fires(text, FIRST, LAST)
    return None


@as_promised
@given(expressions)
def test_rules_fire_at_exactly_the_minutes_that_croniter_says(text: str) -> None:
    if (expression := parse_or_none(text)) is not None:
        assert_fires_as("croniter", text, rule_minutes(expression))


@as_promised
@given(expressions.filter(lambda text: "*/" not in "".join(text.split()[2::2])))
def test_rules_fire_at_exactly_the_minutes_that_debians_cron_says(text: str) -> None:
    # It knows no SUN at the end of a range.
    readable = re.sub(r"-sun\b", "-7", text, flags=re.IGNORECASE)
    if (expression := parse_or_none(text)) is not None:
        assert_fires_as("cronsim", readable, rule_minutes(expression))


@as_promised
@given(expressions, st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)))
def test_the_next_fire_times_are_the_first_minutes_of_the_rules(text: str, after: datetime) -> None:
    after = after.replace(tzinfo=UTC)
    if (expression := parse_or_none(text)) is not None:
        times = expression.next_fire_times(after, 5)
        iterator = croniter(text, after, max_years_between_matches=9)
        assert times == [iterator.get_next(datetime) for _ in range(5)]


@as_promised
@given(expressions, st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)))
def test_the_last_fire_time_is_the_one_after_which_the_next_comes(
    text: str, moment: datetime
) -> None:
    until = moment.replace(tzinfo=UTC)
    since = until - timedelta(days=400)
    try:
        expression = CronExpression.parse(text)
    except InvalidCron:
        return
    last = expression.last_fire_time(until, since=since)
    if last is None:
        assert expression.next_fire_times(since - timedelta(minutes=1), 1)[0] > until
        return
    assert since <= last <= until
    assert expression.next_fire_times(last - timedelta(minutes=1), 1) == [last]
    assert expression.next_fire_times(last, 1)[0] > until


@pytest.mark.parametrize(
    "text",
    [
        "0 0,12 * * *",  # the original's example
        "17 1 * * *",
        "0 12 1 * 1-5",
        "30 4 1,15 * 5",
        "0 0 */2 * 1",  # either: only * is unrestricted
        "0 0 1 * */2",
        "0 0 */2 * */3",
        "0 0 1-31 * 1",
        "0 0 1 * 0-6",
        "0 0 */1 * */2",  # every day, beside a star: unrestricted
        "0 0 */2 * 0-7",
        "0 0 1-31 * */2",
        "0 0 29 2 *",
        "0 0 29 2 1",
        "0 0 30,31 2,4 *",
        "0 0 31 2 1",  # the 31st never comes, Monday does
        "0 0 * * 7",
        "0 0 * * 0,7",
        "0 0 * * 5-7",
        "0 0 * * FRI-SUN",
        "0 0 * * fri-sun/2",
        "0 0 * * 6-7/2",
        "0 0 * * 0-7/3",
        "0 0 * * MON-7",
        "0 0 5/10 JAN/3 *",
        "59/15 23/5 31/2 12/4 *",
        "0-59/29 */7 * * *",
        "00 007 * * *",
        "*/60 */24 */31 */12 *",
    ],
)
def test_an_edge_of_the_language_fires_as_croniter_says_minute_by_minute(text: str) -> None:
    rules = rule_minutes(CronExpression.parse(text))
    assert_fires_as("croniter", text, rules)
    every = croniter_fires(text, FIRST, LAST)
    assert sum(bits.bit_count() for bits in rules.values()) == len(every)
    by_day: Minutes = {}
    for moment in every:
        by_day[moment.date()] = by_day.get(moment.date(), 0) | bits_of([moment])
    assert rules == by_day


def test_a_start_with_a_step_goes_to_the_end_of_the_field() -> None:
    assert sorted(CronExpression.parse("5/15 * * * *").minutes) == [5, 20, 35, 50]


@pytest.mark.parametrize(
    ("shorthand", "rule"),
    [
        ("@yearly", "cron(0 0 1 1 ? *)"),
        ("@annually", "cron(0 0 1 1 ? *)"),
        ("@monthly", "cron(0 0 1 * ? *)"),
        ("@weekly", "cron(0 0 ? * SUN *)"),
        ("@daily", "cron(0 0 * * ? *)"),
        ("@midnight", "cron(0 0 * * ? *)"),
        ("@hourly", "cron(0 * * * ? *)"),
        (" @Daily\n", "cron(0 0 * * ? *)"),
    ],
)
def test_a_shorthand_is_one_rule(shorthand: str, rule: str) -> None:
    assert CronExpression.parse(shorthand).eventbridge() == (rule,)
    assert CronExpression.parse(shorthand).text == shorthand.strip()


def test_two_restricted_day_fields_are_two_rules() -> None:
    assert CronExpression.parse("30 4 1,15 JAN-MAR fri").eventbridge() == (
        "cron(30 4 1,15 1-3 ? *)",
        "cron(30 4 ? 1-3 FRI *)",
    )


def test_a_day_field_that_never_or_always_matches_is_no_second_rule() -> None:
    assert CronExpression.parse("0 0 31 2 MON").eventbridge() == ("cron(0 0 ? 2 MON *)",)
    assert CronExpression.parse("0 0 1-31 * MON").eventbridge() == ("cron(0 0 * * ? *)",)


@pytest.mark.parametrize("shift", [0, 1])
def test_the_longest_expressions_fit_into_a_rule(shift: int) -> None:
    def pairs(low: int, high: int) -> str:
        return ",".join(str(n) for n in range(low, high + 1) if (n - low - shift) % 3 != 2)

    worst = f"{pairs(0, 59)} {pairs(0, 23)} {pairs(1, 31)} {pairs(1, 12)} {pairs(0, 6)}"
    assert max(len(rule) for rule in CronExpression.parse(worst).eventbridge()) <= 256


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "'' has 0 fields, and five are needed"),
        ("0 0 * *", "has 4 fields"),
        ("0 0 0 * * *", "has 6 fields"),
        ("0 0 * * * * 2027", "has 7 fields"),
        ("@reboot", "'@reboot' is no schedule; @yearly"),
        ("@every 5m", "'@every 5m' is no schedule"),
        ("60 * * * *", "minute '60' is not possible: 0 to 59"),
        ("* 24 * * *", "hour '24' is not possible: 0 to 23"),
        ("* * 0 * *", "day of month '0' is not possible: 1 to 31"),
        ("* * 32 * *", "day of month '32' is not possible: 1 to 31"),
        ("* * * 0 *", "month '0' is not possible: 1 to 12"),
        ("* * * 13 *", "month '13' is not possible: 1 to 12 or JAN to DEC"),
        ("* * * FOO *", "month 'FOO'"),
        ("* * * MON *", "month 'MON'"),
        ("* * * * 8", "day of week '8' is not possible: 0 to 7"),
        ("* * * * JAN", "day of week 'JAN'"),
        ("MON * * * *", "minute 'MON'"),
        ("10-5 * * * *", "minute '10-5' is not possible: a range goes from a lower"),
        ("* 22-2 * * *", "hour '22-2'"),
        ("* * * NOV-FEB *", "month 'NOV-FEB'"),
        ("* * * * SAT-MON", "day of week 'SAT-MON'"),
        ("* * * * 7-1", "day of week '7-1'"),
        ("5-5 * * * *", "minute '5-5'"),
        ("* * * * SUN-SUN", "day of week 'SUN-SUN'"),
        ("* * * * 5/2", "day of week '5/2' is not possible: a step there needs"),
        ("*/0 * * * *", "minute '*/0' is not possible: a step from 1 to 60"),
        ("*/90 * * * *", "minute '*/90'"),
        ("* * * * */8", "day of week '*/8' is not possible: a step from 1 to 7"),
        ("*,5 * * * *", "minute '*,5' is not possible: '*' is every value"),
        ("1,,2 * * * *", "minute ''"),
        ("-5 * * * *", "minute '-5'"),
        ("1- * * * *", "minute '1-'"),
        ("*-5 * * * *", "minute '*-5'"),
        ("1-5-9 * * * *", "minute '1-5-9'"),
        ("*/ * * * *", "minute '*/'"),
        ("1.5 * * * *", "minute '1.5'"),
        (f"{'9' * 9000} * * * *", "minute '9999"),
        ("0 0 31 2 *", "day of month '31' never comes"),
        ("0 0 30,31 FEB *", "day of month '30,31' never comes"),
        ("0 0 31 4,6,9,11 *", "day of month '31' never comes"),
        ("٣ * * * *", "not ASCII"),
        ("0 0\u00a0* * * *", "not ASCII"),
        ("0 0 L * *", "day of month 'L'"),
        ("0 0 15W * *", "day of month '15W'"),
        ("0 0 ? * MON", "day of month '?'"),
        ("0 0 * * 1#2", "day of week '1#2'"),
        ("0 0 * * 5L", "day of week '5L'"),
        ("H H * * *", "minute 'H'"),
        ("R * * * *", "minute 'R'"),
        (ORIGINAL_DEFAULT, "has 4 fields"),
    ],
)
def test_what_is_no_schedule_is_refused_in_one_sentence_that_names_it(
    text: str, named: str
) -> None:
    with pytest.raises(InvalidCron) as raised:
        CronExpression.parse(text)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize(
    "text",
    [
        "[5-55][0-1] * * *",
        r"[5-55][0-1] \* \* \*",
        "  [5-55][0-1]  *\t* * ",
        "[5-55] [0-1] * * *",
    ],
)
def test_the_originals_spelling_of_its_default_is_recognised(text: str) -> None:
    assert is_original_default(text)


@pytest.mark.parametrize("text", ["", "5 0 * * *", "[5-55][0-2] * * *", "* * * * *"])
def test_another_schedule_is_not_taken_for_the_default(text: str) -> None:
    assert not is_original_default(text)


def test_the_default_create_time_is_the_same_for_one_stack_and_spread_over_many() -> None:
    drawn = [default_create_schedule(f"stack-{number}") for number in range(5000)]
    assert drawn == [default_create_schedule(f"stack-{number}") for number in range(5000)]
    times = Counter[tuple[int, int]]()
    for text in drawn:
        minute, hour, *rest = text.split()
        assert rest == ["*", "*", "*"]
        times[int(hour), int(minute)] += 1
        CronExpression.parse(text)
    assert set(times) == {(hour, minute) for hour in (0, 1) for minute in range(5, 56)}


def test_the_default_verify_time_is_weekly_after_the_backups_and_spread_over_the_week() -> None:
    drawn = [default_verify_schedule(f"stack-{number}") for number in range(20_000)]
    assert drawn[0] == default_verify_schedule("stack-0")
    fields = [text.split() for text in drawn]
    assert {(int(weekday), int(hour), int(minute)) for minute, hour, _, _, weekday in fields} == {
        (weekday, hour, minute)
        for weekday in range(7)
        for hour in range(2, 6)
        for minute in range(5, 56)
    }
    assert {(day, month) for _, _, day, month, _ in fields} == {("*", "*")}


def test_a_stack_keeps_its_drawn_time_from_one_version_of_the_service_to_the_next() -> None:
    stack = "arn:aws:cloudformation:eu-central-1:123456789012:stack/site/5b918d10-cd98-11ea"
    assert default_create_schedule(stack) == "44 0 * * *"


def test_next_fire_times_are_strictly_later_and_in_utc() -> None:
    expression = CronExpression.parse("30 1 * * *")
    east = datetime.fromisoformat("2027-05-01T03:30:00+02:00")
    assert expression.next_fire_times(east, 2) == [
        datetime(2027, 5, 2, 1, 30, tzinfo=UTC),
        datetime(2027, 5, 3, 1, 30, tzinfo=UTC),
    ]
    assert expression.next_fire_times(east - timedelta(seconds=1), 1) == [
        datetime(2027, 5, 1, 1, 30, tzinfo=UTC)
    ]
    assert expression.next_fire_times(east, 0) == []


def test_either_of_two_restricted_day_fields_is_a_fire_time() -> None:
    times = CronExpression.parse("0 0 13 * FRI").next_fire_times(FIRST, 4)
    assert [moment.day for moment in times] == [8, 13, 15, 22]
