"""What the settings leave out of a backup or a restore, on each database server."""

import pytest

from lcp_backup.archive.segment import Section
from lcp_backup.errors import DumpFailed, InvalidRequest
from lcp_backup.jobs.stored_backup import StoredBackup
from tests.support.job_site import BACKUP_ID, JobSite

GENERATED = "document_library/20097/0/document_preview/20123"


def test_a_table_comes_back_without_its_rows_and_files_that_match_do_not_come_back(
    job_site: JobSite,
) -> None:
    job_site.env.update(
        LCP_BACKUP_EXCLUDE_TABLES="image_*,Nothing_",
        LCP_BACKUP_EXCLUDE_PATHS="*.bin",
        LCP_BACKUP_EXCLUDE_GENERATED_DL_FILES_ON_BACKUP_CREATE="true",
    )
    generated = job_site.folder / GENERATED
    generated.mkdir(parents=True)
    (generated / "1.png").write_bytes(b"preview")
    with job_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW CREATE TABLE {job_site.name}.Image_")
        before = cursor.fetchone()
        cursor.execute(f"SELECT count(*) FROM {job_site.name}.User_")
        users = cursor.fetchone()
    job_site.create()
    manifest = job_site.catalog.backups.get(BACKUP_ID)
    left_out = manifest.left_out
    assert (left_out.tables, left_out.table_patterns) == (("Image_",), ("image_*", "Nothing_"))
    # The large file, and the folder of previews.
    assert (left_out.paths, left_out.path_patterns[0]) == (2, "*.bin")
    segments = list(StoredBackup(job_site.catalog, manifest).database_segments())
    assert "Image_" not in {it.table for it in segments if it.section is Section.ROWS}

    with pytest.raises(InvalidRequest, match="rows of table Image_ are not in this backup"):
        job_site.restore(tables=["Image_"])
    job_site.restore()
    with job_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {job_site.name}.Image_")
        assert cursor.fetchone() == (0,)
        cursor.execute(f"SHOW CREATE TABLE {job_site.name}.Image_")
        after = cursor.fetchone()
        cursor.execute(f"SELECT count(*) FROM {job_site.name}.User_")
        assert cursor.fetchone() == users
    assert before is not None
    assert after is not None
    assert after[1].split(" AUTO_INCREMENT=")[0] == before[1].split(" AUTO_INCREMENT=")[0]
    names = {it.name for it in (job_site.folder / "document_library").rglob("*")}
    assert names == {"20097", "0", "Übersicht.txt", "empty"}


def test_a_restore_passes_over_what_liferay_generates_unless_it_is_named(
    mariadb_site: JobSite,
) -> None:
    generated = mariadb_site.folder / GENERATED
    generated.mkdir(parents=True)
    (generated / "1.png").write_bytes(b"preview")
    mariadb_site.create()
    mariadb_site.env["LCP_BACKUP_EXCLUDE_GENERATED_DL_FILES_ON_BACKUP_RESTORE"] = "true"
    mariadb_site.restore(only="volume")
    assert not generated.parent.exists()
    assert (mariadb_site.folder / "document_library" / "large.bin").exists()
    mariadb_site.restore(paths=[GENERATED])
    assert (generated / "1.png").read_bytes() == b"preview"


def test_rows_that_others_refer_to_are_not_left_out(mariadb_site: JobSite) -> None:
    with mariadb_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE {mariadb_site.name}")
        cursor.execute("CREATE TABLE parent (id int PRIMARY KEY)")
        cursor.execute("CREATE TABLE child (id int, FOREIGN KEY (id) REFERENCES parent (id))")
    mariadb_site.env["LCP_BACKUP_EXCLUDE_TABLES"] = "parent"
    with pytest.raises(DumpFailed, match="child to parent; leave out the referring tables"):
        mariadb_site.create()
    mariadb_site.env["LCP_BACKUP_EXCLUDE_TABLES"] = "parent,child"
    mariadb_site.create()
    assert set(mariadb_site.catalog.backups.get(BACKUP_ID).left_out.tables) == {"parent", "child"}
