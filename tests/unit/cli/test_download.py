"""Archives on their way: cut, killed, changed and refused, and never taken for whole before."""

import errno
import os
import random
import shutil
import signal
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lcp_backup_cli import client, download
from tests.support.command_line import CommandLine
from tests.support.pretended_service import BACKUP, SIGNATURE, Fault, Service, problem

PART = 256 * 1024
REAL_PART = download._PART


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts, and no waits."""
    monkeypatch.setattr(download, "_PART", PART)
    monkeypatch.setattr(download, "backoff", lambda _attempt: 0.0)
    monkeypatch.setattr(client, "backoff", lambda _attempt: 0.0)


@pytest.fixture
def volume(service: Service) -> bytes:
    """What there is to download."""
    content = random.Random(7).randbytes(5 * PART + 17)
    service.objects = {"volume": content, "database": content[:PART]}
    return content


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    folder = tmp_path / "dest"
    folder.mkdir()
    return folder


WHOLE = f"{BACKUP}-volume.tgz"


def names(dest: Path) -> list[str]:
    return sorted(it.name for it in dest.iterdir())


def moved(service: Service) -> int:
    """Bytes that the store sent, but for the one that asks for the ETag."""
    return sum(count for _, count in service.sent if count != 1)


def test_both_archives_arrive_whole_under_their_names_for_this_user_alone(
    lcp: CommandLine, volume: bytes, dest: Path
) -> None:
    said = lcp("download", "latest", "--dest", dest, "--json")
    assert said.code == 0, said.err
    assert names(dest) == [f"{BACKUP}-database.tgz", WHOLE]
    assert (dest / WHOLE).read_bytes() == volume
    assert stat.S_IMODE((dest / WHOLE).stat().st_mode) == 0o600
    assert [(it["kind"], it["checked"]) for it in said.json()["files"]] == [
        ("database", True),
        ("volume", True),
    ]
    assert "is there already" in lcp("download", BACKUP, "--dest", dest).out


@pytest.mark.usefixtures("volume")
def test_a_selection_is_asked_for_as_it_was_given(
    lcp: CommandLine, service: Service, dest: Path
) -> None:
    service.told_sha256["volume"] = None
    said = lcp("download", BACKUP, "--path", "a/b", "--path", "ü", "--dest", dest)
    assert "the service knows no SHA-256 of it" in said.out
    [name] = names(dest)
    assert name.startswith(f"{BACKUP}-volume-selection-")
    assert service.asked[0] == f"GET /backup/download/volume/{BACKUP}?path=a%2Fb&path=%C3%BC"
    lcp("download", BACKUP, "--table", "User_", "--dest", dest)
    assert f"GET /backup/download/database/{BACKUP}?table=User_" in service.asked
    service.asked.clear()
    lcp("download", BACKUP, "--database", "--path", "d", "--dest", dest)
    kinds = [it.split("/")[3] for it in service.asked if "/download/" in it]
    assert kinds == ["database", "volume"]


@pytest.mark.usefixtures("volume")
def test_each_selection_has_a_file_of_its_own_in_one_folder(
    lcp: CommandLine, service: Service, dest: Path
) -> None:
    service.told_sha256["volume"] = None
    for content, paths in ((b"of a", ["a"]), (b"of b and a", ["b", "a"])):
        service.objects["volume"] = content
        chosen = [it for path in paths for it in ("--path", path)]
        assert lcp("download", BACKUP, *chosen, "--dest", dest).code == 0
    assert {it.read_bytes() for it in dest.iterdir()} == {b"of a", b"of b and a"}
    # The same in another order is the same, and is not fetched again.
    service.sent.clear()
    again = lcp("download", BACKUP, "--path", "a", "--path", "b", "--dest", dest)
    assert (again.code, "is there already" in again.out, service.sent) == (0, True, [])
    # One that has another size is not believed to be the same, and not written over.
    service.objects["volume"] = b"another"
    assert lcp("download", BACKUP, "--path", "a", "--dest", dest).code == 2
    assert {it.read_bytes() for it in dest.iterdir()} == {b"of a", b"of b and a"}


def test_a_line_that_is_cut_again_and_again_moves_no_byte_twice(
    lcp: CommandLine, service: Service, volume: bytes, dest: Path
) -> None:
    service.cuts = [1, 100_000, 7, 0, 65_536, 0, 1000, 200_000]
    assert lcp("download", BACKUP, "--volume", "--dest", dest).code == 0
    assert (dest / WHOLE).read_bytes() == volume
    assert moved(service) == len(volume)
    assert service.cuts == []


def test_urls_that_run_out_are_replaced_on_the_way(
    lcp: CommandLine, service: Service, volume: bytes, dest: Path
) -> None:
    service.oldest_good = 3
    assert lcp("download", BACKUP, "--volume", "--dest", dest).code == 0
    assert (dest / WHOLE).read_bytes() == volume
    assert len([it for it in service.asked if "/download/" in it]) == 3


def test_an_archive_that_is_assembled_first_is_waited_for(
    lcp: CommandLine, service: Service, volume: bytes, dest: Path
) -> None:
    body = problem("download-not-ready", 503, run_id="20261123T001500-download-0a1b2c3d")
    service.faults = [
        Fault("GET /backup/download/.*", 503, body, {"Retry-After": "0"}, times=9),
    ]
    said = lcp("download", BACKUP, "--volume", "--dest", dest)
    assert (dest / WHOLE).read_bytes() == volume
    assert said.err.count("being assembled by run 20261123T001500-download-0a1b2c3d") == 1


@pytest.mark.usefixtures("volume")
def test_workers_are_asked_for_where_a_volume_has_to_be_assembled(
    lcp: CommandLine, service: Service, dest: Path
) -> None:
    assert lcp("download", BACKUP, "--workers", "4", "--dest", dest).code == 0
    asked = [it for it in service.asked if "/download/" in it]
    assert asked == [
        f"GET /backup/download/database/{BACKUP}",
        f"GET /backup/download/volume/{BACKUP}?workers=4",
    ]


@pytest.mark.usefixtures("volume")
def test_other_bytes_than_the_sha256_leave_nothing_at_all(
    lcp: CommandLine, service: Service, dest: Path
) -> None:
    service.told_sha256["volume"] = "00" * 32
    said = lcp("download", BACKUP, "--volume", "--dest", dest, "--json")
    assert (said.code, said.json()["error"]["code"]) == (9, "sha256-differs")
    assert names(dest) == []


@pytest.mark.usefixtures("volume")
@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET /s3/.*", 500, b"<Error/>", times=10**6),
        Fault("GET /s3/.*", 200, b"a proxy that knows no ranges", times=10**6),
        Fault("GET /s3/.*", 403, b"<Error>AccessDenied</Error>", times=10**6),
    ],
    ids=lambda fault: str(fault.status),
)
def test_a_store_that_answers_wrongly_is_given_up_and_no_signature_is_told(
    lcp: CommandLine, service: Service, dest: Path, fault: Fault
) -> None:
    service.faults = [fault]
    said = lcp("download", BACKUP, "--volume", "--dest", dest, "--debug")
    assert said.code == 8
    assert "Run the same command again: it goes on" in said.err
    assert WHOLE not in names(dest)
    assert SIGNATURE not in said.err + said.out


def begun(lcp: CommandLine, service: Service, dest: Path) -> None:
    """A download that broke off behind three parts."""
    service.cuts = [1, PART, PART, PART, *([0] * 100)]
    assert lcp("download", BACKUP, "--volume", "--dest", dest, "--concurrency", "1").code == 8
    assert names(dest) == [f"{WHOLE}.partial", f"{WHOLE}.partial.log"]
    service.cuts, service.sent = [], []


def test_what_broke_off_goes_on_from_what_is_on_the_disk(
    lcp: CommandLine, service: Service, volume: bytes, dest: Path
) -> None:
    begun(lcp, service, dest)
    assert lcp("download", BACKUP, "--volume", "--dest", dest).code == 0
    assert (dest / WHOLE).read_bytes() == volume
    assert moved(service) == len(volume) - 3 * PART
    assert names(dest) == [WHOLE]


def test_a_part_that_the_disk_lost_is_fetched_again(
    lcp: CommandLine, service: Service, volume: bytes, dest: Path
) -> None:
    begun(lcp, service, dest)
    with (dest / f"{WHOLE}.partial").open("r+b") as file:
        file.seek(PART + 5)
        file.write(b"\0\0\0\0")
    with (dest / f"{WHOLE}.partial.log").open("a") as log:
        log.write("4 12")  # a line that was cut by a kill
    assert lcp("download", BACKUP, "--volume", "--dest", dest).code == 0
    assert (dest / WHOLE).read_bytes() == volume
    assert moved(service) == len(volume) - 2 * PART


@pytest.mark.parametrize("known", [True, False])
def test_another_object_under_the_same_name_is_begun_anew(
    lcp: CommandLine, service: Service, volume: bytes, dest: Path, *, known: bool
) -> None:
    service.told_sha256["volume"] = None
    begun(lcp, service, dest)
    other = bytes(reversed(volume))
    service.objects["volume"] = other
    service.etag = '"two"'
    if known:
        del service.told_sha256["volume"]
    assert lcp("download", BACKUP, "--volume", "--dest", dest).code == 0
    assert (dest / WHOLE).read_bytes() == other


def test_a_full_disk_is_told_and_leaves_no_whole_file(
    lcp: CommandLine, volume: bytes, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        said = lcp("download", BACKUP, "--volume", "--dest", dest)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "there is no room" in said.err
    assert WHOLE not in names(dest)
    assert lcp("download", BACKUP, "--volume", "--dest", dest).code == 0
    assert (dest / WHOLE).read_bytes() == volume


def test_too_little_room_is_told_before_the_bytes_travel(
    lcp: CommandLine,
    service: Service,
    volume: bytes,
    dest: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = SimpleNamespace(free=len(volume) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    said = lcp("download", BACKUP, "--volume", "--dest", dest)
    assert (said.code, f"{len(volume):,} bytes are needed" in said.err) == (1, True)
    assert moved(service) == 0


def test_a_file_that_is_there_is_not_written_over(
    lcp: CommandLine, service: Service, dest: Path
) -> None:
    service.objects = {"volume": b"x" * 100}
    (dest / WHOLE).write_bytes(b"mine")
    said = lcp("download", BACKUP, "--volume", "--dest", dest)
    assert (said.code, (dest / WHOLE).read_bytes()) == (2, b"mine")
    assert service.sent == []


def test_a_kill_in_the_middle_costs_less_than_one_part_of_each_stream(
    lcp: CommandLine, service: Service, dest: Path
) -> None:
    streams = 2
    content = random.Random(8).randbytes(4 * REAL_PART)
    service.objects = {"volume": content}
    service.pause = 0.001
    command = ("download", BACKUP, "--volume", "--dest", dest, "--concurrency", str(streams))
    process = lcp.start(*command)
    while moved(service) < REAL_PART:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert names(dest) == [f"{WHOLE}.partial", f"{WHOLE}.partial.log"]
    service.pause = 0.0
    process = lcp.start(*command)
    # While it works, nobody else does.
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert (dest / WHOLE).read_bytes() == content
    assert moved(service) - len(content) < streams * REAL_PART


@pytest.mark.usefixtures("volume")
def test_two_at_once_do_not_write_the_same_file(
    lcp: CommandLine, service: Service, dest: Path
) -> None:
    service.pause = 0.05
    process = lcp.start("download", BACKUP, "--volume", "--dest", dest)
    while not (dest / f"{WHOLE}.partial.log").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    said = lcp("download", BACKUP, "--volume", "--dest", dest)
    assert (said.code, "another process is downloading" in said.err) == (7, True)
    service.pause = 0.0
    process.communicate(timeout=60)
    assert process.returncode == 0
