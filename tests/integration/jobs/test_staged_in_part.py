"""A whole restore whose time ends, as the function runs it, and the one that goes on from it."""

from typing import Any

import pytest

from lcp_backup.errors import OutOfTime, StagedInPart
from lcp_backup.jobs import staged_volume
from lcp_backup.volume.writing import Writing
from tests.support.job_site import JobSite


@pytest.mark.parametrize("strategy", ["PREPARE_AND_SWAP", "OVERWRITE"])
def test_a_restore_goes_on_from_what_the_last_one_unpacked(
    mariadb_site: JobSite, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = mariadb_site
    site.env["LCP_BACKUP_RESTORE_STRATEGY"] = strategy
    site.create()
    backed_up = site.fingerprint()
    with site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {site.name}.Image_")
    (site.folder / "document_library" / "large.bin").write_text("live")
    live = site.fingerprint()
    monkeypatch.setattr(staged_volume, "LEAST_UNPACKED", 24 << 20)
    written: list[str] = []
    real = Writing.make_file

    def ends(self: Any, folder: int, way: str, *more: Any) -> None:
        if len(written) == 1:
            raise OutOfTime("over")
        written.append(way)
        real(self, folder, way, *more)

    with monkeypatch.context() as once:
        once.setattr(Writing, "make_file", ends)
        with pytest.raises(StagedInPart):
            site.restore()
    assert written == ["document_library/large.bin"]
    assert live.differences(site.fingerprint()) == []
    assert site.schemas() == {site.name}
    run = next(site.catalog.runs.all())
    assert run.error is not None
    assert run.error.code == "staged-in-part"
    assert "0.0 of 0.0 GB of the volume unpacked" in run.error.message

    def noted(self: Any, folder: int, way: str, *more: Any) -> None:
        written.append(way)
        real(self, folder, way, *more)

    monkeypatch.setattr(Writing, "make_file", noted)
    site.restore()
    assert written[1:] == ["document_library/Übersicht.txt"]
    assert backed_up.differences(site.fingerprint()) == []
    assert site.schemas() == {site.name}
    assert list(site.folder.parent.glob("**/.lcp-*")) == []
