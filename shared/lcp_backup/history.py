"""Which archives a new backup's volume may refer to, and which of them it carries over.

A backup's volume may lie in several archives: its own, which holds what changed, and those of older
backups, its *sources*. Two bounds keep that short, so that a restore is not slower for a long
history and space is freed: there are at most MOST_SOURCES, and none of which less than half is
live. What is live in one that fails is carried over into the new archive. When there are too many,
the largest KEPT_OF_MANY stay: were it one at a time, each backup would store the smallest again,
and they would all grow alike.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from lcp_backup.model import Archive, BackupType, Manifest, VolumeFacts, VolumeSource

MOST_SOURCES: Final = 32
KEPT_OF_MANY: Final = 16
WHOLE_BELOW: Final = 64 << 20
"""Bytes of all files of a volume; to a backup of a smaller one no other refers."""


def can_be_base(manifest: Manifest) -> bool:
    """Whether a new backup may refer to this one's archives, and those that it reads."""
    return manifest.type is not BackupType.UPLOADED and manifest.volume_facts.bytes >= WHOLE_BELOW


class BaseVolume(Protocol):
    """What a new volume is compared with: a backup's, or one that a run could not finish."""

    @property
    def id(self) -> str: ...

    @property
    def volume(self) -> Archive: ...

    @property
    def sources(self) -> tuple[VolumeSource, ...]: ...

    @property
    def volume_facts(self) -> VolumeFacts: ...


class Found(NamedTuple):
    """What lies where a backup's volume should."""

    size: int
    etag: str


class Plan(NamedTuple):
    """What a new backup does with the archives that its base reads."""

    kept: tuple[VolumeSource, ...]
    """Referred to; `live_size` as it was in the base."""
    carried: tuple[VolumeSource, ...]
    """What is live in them goes into the new archive."""
    missing: tuple[VolumeSource, ...]
    """Gone or replaced: their files are read from the folder again."""


def plan(base: BaseVolume, found: Mapping[str, Found], *, carry_all: bool) -> Plan:
    """Decides for every archive that the base reads, its own first.

    Args:
        base: what the new volume is compared with; its sources keep to the bounds already.
        found: what lies there now, by backup; without an entry, nothing does.
        carry_all: whether the new archive is to hold everything.
    """
    own = VolumeSource(
        backup_id=base.id,
        size=base.volume.size,
        etag=base.volume.etag or "",
        file_size=base.volume_facts.own_size,
        live_size=base.volume_facts.own_size,
    )
    missing: list[VolumeSource] = []
    usable: list[VolumeSource] = []
    for source in (own, *base.sources):
        is_there = found.get(source.backup_id) == Found(source.size, source.etag)
        (usable if is_there else missing).append(source)
    if carry_all:
        return Plan((), tuple(usable), tuple(missing))
    kept = [source for source in usable if source.live_size * 2 >= source.file_size]
    if len(kept) > MOST_SOURCES:
        kept = sorted(kept, key=lambda source: source.live_size, reverse=True)[:KEPT_OF_MANY]
    names = {source.backup_id for source in kept}
    return Plan(
        tuple(source for source in usable if source.backup_id in names),
        tuple(source for source in usable if source.backup_id not in names),
        tuple(missing),
    )
