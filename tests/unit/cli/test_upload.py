"""Files on their way in: looked at first, sent in parts, resumed, and their refusal told."""

import gzip
import io
import os
import random
import resource
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from lcp_backup_cli import client, follow, uploads
from tests.support.command_line import CommandLine, Said
from tests.support.pretended_service import (
    SIGNATURE,
    UPLOAD,
    Fault,
    Service,
    a_run,
    problem,
)

DUMP = b"-- MySQL dump\nCREATE TABLE a (b INT);\n-- Dump completed\n" * 1000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_POLL", 0.0)
    for module in (client, uploads):
        monkeypatch.setattr(module, "backoff", lambda _attempt: 0.0)


def packed(mtime: float = 0, /, **members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size, member.mtime = len(content), mtime
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def files(tmp_path: Path, service: Service) -> dict[str, Path]:
    """A dump and a library that may be sent, in parts of 64 KiB."""
    service.part_size = 65536
    service.runs[UPLOAD] = [a_run("upload", "running", id=UPLOAD), a_run("upload", id=UPLOAD)]
    library = random.Random(9).randbytes(400_000)
    found = {"database": tmp_path / "dump.sql", "volume": tmp_path / "volume.tgz"}
    found["database"].write_bytes(DUMP)
    found["volume"].write_bytes(packed(document_library__a=library))
    return found


def command(files: dict[str, Path]) -> list[str | Path]:
    return ["upload", "--database", files["database"], "--volume", files["volume"]]


def upload(lcp: CommandLine, files: dict[str, Path], *more: str) -> Said:
    return lcp(*command(files), *more)


def check_arrived(service: Service, files: dict[str, Path]) -> None:
    for kind, path in files.items():
        numbers = sorted(number for one, number in service.arrived if one == kind)
        whole = b"".join(service.arrived[kind, number] for number in numbers)
        assert whole == path.read_bytes()
    assert service.sealed


def pending(lcp: CommandLine) -> list[Path]:
    return list((lcp.home / "state").rglob("*.json"))


def test_both_files_arrive_in_parts_and_the_intake_is_waited_for(
    lcp: CommandLine, service: Service, files: dict[str, Path]
) -> None:
    said = upload(lcp, files, "--json")
    assert said.code == 0, said.err
    assert said.json()["state"] == "succeeded"
    check_arrived(service, files)
    assert len(service.puts) == len(set(service.puts))
    assert {len(it["sha256"]) for it in service.bodies[0].values()} == {64}
    assert pending(lcp) == []


def test_small_files_go_by_one_url_each(
    lcp: CommandLine, service: Service, files: dict[str, Path]
) -> None:
    service.part_size = 0
    assert upload(lcp, files).code == 0
    check_arrived(service, files)


def test_parts_that_fail_and_urls_that_run_out_cost_no_more_than_those_parts(
    lcp: CommandLine, service: Service, files: dict[str, Path]
) -> None:
    service.faults = [
        Fault("PUT /s3/put/volume/2", 500, b"<Error/>", times=2),
        Fault("PUT /s3/put/volume/3", 403, b"<Error>Request has expired</Error>"),
    ]
    assert upload(lcp, files).code == 0
    check_arrived(service, files)
    assert len(service.puts) == len(set(service.puts))


def test_a_line_that_stays_dead_is_told_and_the_next_time_goes_on(
    lcp: CommandLine, service: Service, files: dict[str, Path]
) -> None:
    service.faults = [Fault("PUT /s3/put/volume/5", 500, b"<Error/>", times=8)]
    said = upload(lcp, files, "--debug", "--concurrency", "1")
    assert (said.code, "what has arrived is not sent again" in said.err) == (8, True)
    assert SIGNATURE not in said.err + said.out
    before = len(service.puts)
    assert before > 3
    assert f"Going on with the upload {UPLOAD}" in upload(lcp, files).err
    check_arrived(service, files)
    assert len(service.puts) == len(set(service.puts))
    assert len([it for it in service.asked if it == "POST /backup/upload"]) == 1


def test_a_kill_in_the_middle_sends_less_than_one_part_of_each_stream_again(
    lcp: CommandLine, service: Service, files: dict[str, Path]
) -> None:
    service.pause = 0.2
    process = lcp.start(*command(files), "--concurrency", "2")
    while len(service.puts) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    service.pause = 0.0
    assert upload(lcp, files).code == 0
    check_arrived(service, files)
    assert len(service.puts) - len(set(service.puts)) <= 2


def test_an_answer_to_the_last_call_that_was_lost_starts_nothing_twice(
    lcp: CommandLine, service: Service, files: dict[str, Path]
) -> None:
    service.faults = [Fault("GET /backup/runs/.*", 404, problem("not-found", 404), times=1)]
    assert upload(lcp, files).code == 5
    puts = len(service.puts)
    assert upload(lcp, files).code == 0
    assert len(service.puts) == puts
    assert len([it for it in service.asked if it.endswith("/complete")]) == 1


def test_a_refusal_is_told_in_full_and_the_next_upload_is_another(
    lcp: CommandLine, service: Service, files: dict[str, Path]
) -> None:
    why = {"code": "archive-refused", "message": "line 7 of the dump: GRANT is not restored"}
    service.runs[UPLOAD] = [a_run("upload", "failed", id=UPLOAD, error=why)]
    said = upload(lcp, files)
    assert (said.code, why["message"] in said.err) == (9, True)
    assert pending(lcp) == []


def test_any_other_failure_keeps_what_was_sent(
    lcp: CommandLine, service: Service, files: dict[str, Path]
) -> None:
    why = {"code": "lease-held", "message": "run r is writing"}
    service.runs[UPLOAD] = [a_run("upload", "failed", id=UPLOAD, error=why)]
    assert upload(lcp, files).code == 7
    assert len(pending(lcp)) == 1


EMPTY_TAR = gzip.compress(bytes(10240))
A_DUMP_IN_A_TAR = packed(**{"lportal.sql": DUMP})


@pytest.mark.parametrize(
    ("kind", "content", "sentence"),
    [
        ("volume", b"", "is empty"),
        ("volume", EMPTY_TAR, "is an empty tar file"),
        ("database", EMPTY_TAR, "`mysqldump ... | tar -czf` packs nothing"),
        ("volume", gzip.compress(DUMP), "is no tar file but text, perhaps a dump"),
        ("volume", DUMP, "is no tar file but text, perhaps a dump"),
        ("volume", A_DUMP_IN_A_TAR, "holds a dump (lportal.sql). Give it as --database"),
        ("database", packed(document_library__a=b"x"), "holds the document library"),
        # With a pax header in front, as in each archive that the service packs itself.
        ("volume", packed(0.5, **{"lportal.sql": DUMP}), "holds a dump (lportal.sql)"),
        ("database", packed(0.5, document_library__a=b"x"), "holds the document library"),
        ("volume", b"PK\x03\x04" + bytes(600), "is a zip file"),
        ("database", "CREATE TABLE".encode("utf-16"), "as PowerShell's > writes it"),
        ("database", b"\xfe\xff" + "CREATE".encode("utf-16-be"), "is text in UTF-16. Dump"),
        ("database", "CREATE TABLE".encode("utf-32"), "is text in UTF-32. Dump"),
        ("database", b"\0\0\xfe\xff" + "CREATE".encode("utf-32-be"), "is text in UTF-32. Dump"),
        ("database", gzip.compress("CREATE".encode("utf-32")), "is text in UTF-32. Dump"),
        ("database", gzip.compress(b"<html>login</html>"), "is a web page"),
        ("volume", b"\x1f\x8b" + b"\xff" * 600, "begins like a gzip file, and is damaged"),
        ("volume", os.urandom(2000), "is no tar file, whatever its name says"),
        ("volume", None, "is a folder, and --volume is a file. Pack it: lcp-backup pack"),
    ],
    # (An archive differs from process to process, by its time.)
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_the_usual_mistakes_are_told_before_a_byte_travels(
    lcp: CommandLine,
    service: Service,
    files: dict[str, Path],
    kind: str,
    content: bytes | None,
    sentence: str,
) -> None:
    files[kind].unlink()
    if content is None:
        files[kind].mkdir()
    else:
        files[kind].write_bytes(content)
    said = upload(lcp, files)
    assert (said.code, sentence in said.err) == (9, True), said.err
    assert service.asked == []


@pytest.mark.parametrize(
    "content", [gzip.compress(DUMP), A_DUMP_IN_A_TAR, DUMP], ids=["gzip", "tar", "plain"]
)
def test_every_form_of_a_dump_may_be_sent(
    lcp: CommandLine, files: dict[str, Path], content: bytes
) -> None:
    files["database"].write_bytes(content)
    assert upload(lcp, files).code == 0


def test_a_packed_library_opens_with_tar_as_it_was(lcp: CommandLine, tmp_path: Path) -> None:
    data = tmp_path / "data"
    library = data / "document_library"
    (library / "20097" / "empty").mkdir(parents=True)
    (library / "20097" / "ü 1.0").write_bytes(b"x" * 100_000)
    (library / "link").symlink_to("20097/ü 1.0")
    os.mkfifo(library / "pipe")
    (data / "elsewhere").write_text("no part of the library")
    target = tmp_path / "volume.tgz"
    said = lcp("pack", data, "--output", target, "--json")
    assert said.json() == {"file": str(target), "size": target.stat().st_size, "left_out": 1}
    subprocess.run(["tar", "xzf", target, "-C", tmp_path], check=True)
    both = (library, tmp_path / "document_library")
    subprocess.run(["diff", "-r", "--no-dereference", "-x", "pipe", *both], check=True)
    assert not (tmp_path / "elsewhere").exists()
    assert lcp("pack", data, "--output", target).code == 2
    assert lcp("pack", tmp_path / "document_library" / "20097").code == 2
    unsent = lcp("upload", "--database", tmp_path / "nowhere", "--volume", tmp_path / "nowhere")
    assert (unsent.code, f"there is no file {tmp_path}/nowhere." in unsent.err) == (2, True)
    missing = lcp("pack", tmp_path / "nowhere")
    assert (missing.code, f"there is no folder {tmp_path}/nowhere." in missing.err) == (2, True)
    assert f"{target} is a file, and no folder." in lcp("pack", target).err


def test_a_pack_does_not_pack_what_it_writes(lcp: CommandLine, tmp_path: Path) -> None:
    library = tmp_path / "document_library"
    (library / "20097").mkdir(parents=True)
    (tmp_path / "link").symlink_to(library / "20097")
    for target in (library / "volume.tgz", tmp_path / "link" / "volume.tgz"):
        said = lcp("pack", tmp_path, "--output", target)
        assert (said.code, f"{target} would lie in the folder that is packed" in said.err) == (
            2,
            True,
        )
    assert [path.name for path in library.rglob("*")] == ["20097"]


def test_a_pack_onto_a_full_disk_leaves_no_file_and_names_the_one_that_it_was_to_be(
    lcp: CommandLine, tmp_path: Path
) -> None:
    library = tmp_path / "document_library"
    library.mkdir()
    (library / "a").write_bytes(random.Random(1).randbytes(3_000_000))
    target = tmp_path / "volume.tgz"
    # As a full disk does it, in the middle of the file; and no signal.
    limited = lcp.start("pack", library, "--output", target, preexec_fn=_at_most_a_megabyte)
    said = limited.communicate()[1]
    assert limited.returncode == 1
    assert said == (
        f"error: {target} cannot be written: File too large. Make room, or choose another"
        " --output.\n"
    )
    assert {it.name for it in tmp_path.iterdir()} == {"document_library", "home"}


def _at_most_a_megabyte() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


def test_a_pack_into_a_folder_that_is_missing_names_the_file(
    lcp: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "document_library").mkdir()
    target = tmp_path / "missing" / "volume.tgz"
    said = lcp("pack", tmp_path, "--output", target)
    assert said.code == 1
    assert f"{target} cannot be written: No such file or directory" in said.err
