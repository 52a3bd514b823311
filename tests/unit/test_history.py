"""Which archives a new backup refers to: few, and none that is mostly dead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.history import KEPT_OF_MANY, MOST_SOURCES, WHOLE_BELOW, Found, can_be_base, plan
from lcp_backup.model import BackupType, Manifest, VolumeSource
from tests.support.backups import a_manifest
from tests.support.clock import SettableClock

SIZE = 1000
RAW = 2000


def source(number: int, live: int = RAW) -> VolumeSource:
    return VolumeSource(
        backup_id=f"acme-prd-2026112{number:05}",
        size=SIZE + number,
        etag=f"tag {number}",
        file_size=RAW,
        live_size=live,
    )


def base(*sources: VolumeSource, size: int = 100 << 20) -> Manifest:
    manifest = a_manifest(SettableClock()())
    facts = manifest.volume_facts.model_copy(update={"bytes": size, "own_size": RAW})
    volume = manifest.volume.model_copy(update={"size": SIZE, "etag": "own tag"})
    return manifest.model_copy(update={"sources": sources, "volume_facts": facts, "volume": volume})


def found(manifest: Manifest) -> dict[str, Found]:
    """All of its archives, as they were."""
    there = {it.backup_id: Found(it.size, it.etag) for it in manifest.sources}
    return {manifest.id: Found(manifest.volume.size, "own tag"), **there}


def ids(sources: tuple[VolumeSource, ...]) -> list[str]:
    return [it.backup_id for it in sources]


def test_a_full_backup_is_referred_to_as_it_lies_there() -> None:
    last = base()
    chosen = plan(last, found(last), carry_all=False)
    assert chosen.kept == (
        VolumeSource(backup_id=last.id, size=SIZE, etag="own tag", file_size=RAW, live_size=RAW),
    )
    assert (chosen.carried, chosen.missing) == ((), ())


def test_what_the_base_reads_is_referred_to_in_its_order_the_base_first() -> None:
    last = base(source(3), source(1), source(2))
    chosen = plan(last, found(last), carry_all=False)
    assert ids(chosen.kept) == [last.id, *ids(last.sources)]


@pytest.mark.parametrize(("live", "kept"), [(RAW // 2, True), (RAW // 2 - 1, False), (0, False)])
def test_an_archive_that_is_less_than_half_live_is_carried_over(live: int, kept: bool) -> None:
    last = base(source(1, live))
    chosen = plan(last, found(last), carry_all=False)
    assert (last.sources[0] in chosen.kept) is kept
    assert (last.sources[0] in chosen.carried) is not kept
    assert chosen.missing == ()


def test_when_there_are_too_many_those_with_the_least_live_are_carried_over() -> None:
    sources = tuple(source(number, RAW - number) for number in range(MOST_SOURCES))
    last = base(*sources)
    chosen = plan(last, found(last), carry_all=False)
    assert chosen.kept[0].backup_id == last.id
    # At once so many that the next backups need not carry any.
    assert chosen.kept[1:] == sources[: KEPT_OF_MANY - 1]
    assert chosen.carried == sources[KEPT_OF_MANY - 1 :]


def test_an_archive_that_is_gone_is_missing_whatever_is_live_in_it() -> None:
    last = base(source(1), source(2, 0))
    there = {last.id: found(last)[last.id]}
    chosen = plan(last, there, carry_all=False)
    assert ids(chosen.kept) == [last.id]
    assert (chosen.carried, chosen.missing) == ((), last.sources)


@pytest.mark.parametrize("other", [Found(SIZE + 1, "another"), Found(SIZE + 2, "tag 1")])
def test_an_archive_that_was_replaced_is_missing(other: Found) -> None:
    last = base(source(1))
    chosen = plan(last, found(last) | {last.sources[0].backup_id: other}, carry_all=False)
    assert (ids(chosen.kept), chosen.missing) == ([last.id], last.sources)


@pytest.mark.parametrize("there", [{}, {"size": SIZE - 1}])
def test_a_base_whose_own_archive_is_gone_or_another_is_missing_too(there: dict[str, int]) -> None:
    last = base(source(1))
    archives = found(last)
    del archives[last.id]
    if there:
        archives[last.id] = Found(there["size"], "own tag")
    chosen = plan(last, archives, carry_all=False)
    assert (chosen.kept, ids(chosen.missing)) == (last.sources, [last.id])


def test_when_all_is_carried_over_nothing_is_referred_to() -> None:
    last = base(source(1), source(2))
    archives = found(last)
    del archives[last.sources[1].backup_id]
    chosen = plan(last, archives, carry_all=True)
    assert (chosen.kept, ids(chosen.carried)) == ((), [last.id, last.sources[0].backup_id])
    assert chosen.missing == last.sources[1:]


@given(
    lives=st.lists(st.integers(0, RAW), max_size=3 * MOST_SOURCES),
    gone=st.sets(st.integers(0, 3 * MOST_SOURCES)),
    carry_all=st.booleans(),
)
def test_the_bounds_hold_and_every_archive_is_decided_once(
    lives: list[int], gone: set[int], carry_all: bool
) -> None:
    last = base(*(source(number, live) for number, live in enumerate(lives)))
    archives = found(last)
    for number in gone:
        archives.pop(source(number).backup_id, None)
    chosen = plan(last, archives, carry_all=carry_all)
    assert len(chosen.kept) <= MOST_SOURCES
    assert all(it.live_size * 2 >= it.file_size for it in chosen.kept)
    decided = [*chosen.kept, *chosen.carried, *chosen.missing]
    assert sorted(it.backup_id for it in decided) == sorted([last.id, *ids(last.sources)])
    assert {it.backup_id for it in chosen.missing} == {
        it.backup_id for it in last.sources if it.backup_id not in archives
    }


def test_a_base_is_large_enough_and_was_made_of_the_site() -> None:
    assert can_be_base(base(size=WHOLE_BELOW))
    assert not can_be_base(base(size=WHOLE_BELOW - 1))
    uploaded = base(size=WHOLE_BELOW).model_copy(update={"type": BackupType.UPLOADED})
    assert not can_be_base(uploaded)
