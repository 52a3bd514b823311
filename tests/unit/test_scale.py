"""The model of large sites: what it says where the answer is known, and that its page quotes it."""

from pathlib import Path

import pytest

from bench.scale import AWS, GB, Site, create, restore, table, verify

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def test_the_page_has_the_table_that_the_model_prints() -> None:
    assert table() in PAGE.read_text()


def test_twice_the_workers_halve_what_they_share_and_nothing_else() -> None:
    site = Site("", 1000 * GB, 0)
    one, two = (create(site, AWS, workers=workers) for workers in (4, 8))
    assert one.phases[0] == two.phases[0]
    assert one.phases[-1].seconds == pytest.approx(2 * two.phases[-1].seconds)
    assert one.usd == pytest.approx(two.usd, rel=0.01)


def test_a_restore_by_many_waits_for_the_file_system() -> None:
    found = restore(Site("", 1000 * GB, 0), AWS, workers=64)
    assert found.bound == "unpack: the file system's writes"
    assert found.seconds > 1000 * GB / AWS.writes


def test_a_verification_is_as_quick_as_its_workers_and_loads_as_a_restore_does() -> None:
    site = Site("", 1000 * GB, 0)
    four, eight = (verify(site, AWS, workers=workers) for workers in (4, 8))
    assert eight.bound == "read: the workers' network"
    assert four.phases[-1].seconds == pytest.approx(2 * eight.phases[-1].seconds)
    database = Site("", 0, 50 * GB)
    assert verify(database, AWS, workers=1).bound.startswith("does not fit: load")
    by_eight = verify(database, AWS, workers=8)
    assert restore(database, AWS, workers=8).phases[-1] in by_eight.phases
    assert by_eight.phases[-1].seconds == pytest.approx(50 * GB / AWS.counts)
    assert verify(Site("", 0, 500 * GB), AWS, workers=64).bound.startswith("does not fit: checks")


def test_a_plan_that_lasts_longer_than_an_invocation_goes_on_in_the_next() -> None:
    found = create(Site("", 10_000 * GB, 0), AWS, workers=64)
    assert found.phases[0].seconds > 880
    assert found.bound == "pack: the workers' network"


@pytest.mark.parametrize(
    ("site", "why"),
    [
        (Site("", 0, 300 * GB), "dump, one connection at one core"),
    ],
)
def test_what_one_invocation_must_do_and_cannot_is_said(site: Site, why: str) -> None:
    assert create(site, AWS, workers=64).bound == f"does not fit: {why}"


def test_a_task_dumps_what_no_function_can_and_takes_as_long() -> None:
    site = Site("", 0, 300 * GB)
    by_function, by_task = (create(site, AWS, workers=2, dump_task=it) for it in (False, True))
    assert by_task.bound == "dump: one connection at one core"
    assert by_task.seconds == by_function.seconds
    assert create(Site("", 0, 5000 * GB), AWS, workers=2, dump_task=True).bound.startswith(
        "does not fit: dump"
    )


def test_a_dump_that_lasts_longer_than_packing_is_what_a_create_waits_for() -> None:
    both = Site("", 10 * GB, 50 * GB)
    assert create(both, AWS, workers=8).bound == "dump: one connection at one core"
