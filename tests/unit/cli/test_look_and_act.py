"""What is shown of backups and runs, and what is done to them."""

import ast
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from lcp_backup_cli import VERSION, follow
from lcp_backup_cli.app import app
from lcp_backup_cli.program import SECTIONS
from tests.support.command_line import CommandLine
from tests.support.pretended_service import BACKUP, Service, a_backup, a_run

_PACKAGE = Path(__file__).parents[3] / "cli" / "lcp_backup_cli"


_MARKS = ["verified", "kept", "until"]
UNREADABLE = {
    **dict.fromkeys(a_backup()),
    "backupId": "acme-prd-202611240015",
    "status": "unreadable",
    "startedAt": "2026-11-24T00:15:00Z",
    "warnings": 0,
    "error": "backup acme-prd-202611240015: damaged",
}
VERIFIED = {
    "verdict": "verified",
    "verifiedAt": "2026-11-23T03:00:00Z",
    "seconds": 61.5,
    "runId": "20261123T025900-verify-0a1b2c3d",
    "error": None,
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_POLL", 0.0)


def test_it_knows_nothing_of_the_services_code() -> None:
    known = {"httpx", "platformdirs", "rich", "typer", "lcp_backup_cli", "__future__"}
    for path in _PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [it.name for it in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in known or top in sys.stdlib_module_names, (path.name, name)


def test_the_package_has_one_version() -> None:
    project = tomllib.loads((_PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_every_command_has_an_example_in_its_help(lcp: CommandLine) -> None:
    names = re.findall(r"^  ([a-z]+)  ", lcp("--help").out, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert f"Example:\n    lcp-backup {name}" in lcp(name, "--help").out


@pytest.mark.parametrize("name", ["pack", "dump", "parameters"])
def test_what_calls_no_service_offers_no_profile_and_takes_one_as_before(
    stranger: CommandLine, name: str
) -> None:
    assert "--profile" not in stranger(name, "--help").out
    assert "--profile" in stranger("list", "--help").out
    assert "no such option" not in stranger(name, "--profile", "prd").err


def test_the_help_lists_every_command_once_in_the_order_of_somebodys_day(
    stranger: CommandLine,
) -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(get_command(app).commands)  # type: ignore[attr-defined] # a group
    told = stranger("--help").out
    places = [told.index(f"\n  {name} ") for name in listed]
    assert places == sorted(places)
    assert all(f"\n{title}:\n" in told for title in SECTIONS)


def test_the_version_is_told(stranger: CommandLine) -> None:
    assert stranger("--version").out == f"lcp-backup {VERSION}\n"


@pytest.mark.parametrize(
    "wrong",
    [
        ["list", "--limit", "x"],
        ["list", "--limit", "0"],
        ["lst"],
        ["restore"],
        ["upload", "--database"],
        ["--x"],
    ],
)
def test_a_command_line_that_is_not_understood_is_an_error_as_all_others(
    stranger: CommandLine, wrong: list[str]
) -> None:
    said = stranger(*wrong)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert "--help says what there is." in said.err
    told = stranger(*wrong[:1], "--json", *wrong[1:])
    assert told.code == 2
    assert told.json()["error"]["code"] == "usage"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["restore", "latest", "--yes"], "--yes wants a value, NAME: The environment's name"),
        (["delete", "x", "--yes"], "--yes wants a value, NAME: The environment's name"),
        (["restore", "latest", "--only"], "--only wants a value, database|volume: Only this half"),
        (["list", "--status"], "--status wants a value, succeeded|failed|all: Also runs"),
        (["runs", "--state"], "--state wants a value, queued|running|succeeded|failed: Only"),
        (["parameters", "--format"], "--format wants a value, samconfig|overrides|env: "),
        (["runs", "--kind", "x"], "invalid value for '--kind': 'x' is not one of 'create', "),
        (["list", "--limit"], "--limit wants a value, N: At most this many"),
        (
            ["list", "--limit", "x"],
            "invalid value for '--limit': it has to be a whole number of at",
        ),
        (["list", "--limit", "0"], "whole number of at least 1. lcp-backup list --help says"),
        (["create", "--workers", "65"], "it has to be a whole number from 1 to 64. lcp-backup"),
        (["verify", "latest", "--workers", "x"], "it has to be a whole number from 1 to 64."),
    ],
)
def test_what_an_option_wants_is_told_with_the_help_of_its_command(
    stranger: CommandLine, wrong: list[str], told: str
) -> None:
    said = stranger(*wrong)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert f"lcp-backup {wrong[0]} --help says what there is." in said.err


def test_a_reader_that_has_gone_gets_no_traceback(stranger: CommandLine) -> None:
    stranger.env["PYTHONUNBUFFERED"] = "1"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        running = stranger.start("list", "--json", "--limit", stdout=gone)
        _, told = running.communicate(timeout=60)
    assert "Traceback" not in told
    assert running.returncode != 0


def test_workers_are_told_in_the_same_words_by_every_command(stranger: CommandLine) -> None:
    for name in ("create", "restore", "verify", "download"):
        told = " ".join(stranger(name, "--help").out.split())
        assert "--workers N At most so many functions are at work on the volume" in told, name


def test_the_list_has_local_times_and_sizes_over_all_its_pages(
    lcp: CommandLine, service: Service
) -> None:
    until = {"keptUntil": "2026-12-23T00:15:00Z"}
    service.backups = [a_backup(f"acme-prd-20261123001{number}", **until) for number in range(5)]
    said = lcp("list", "--limit", "4")
    lines = said.out.splitlines()
    assert lines[0].split() == ["id", "type", "made", "database", "volume", "warnings", *_MARKS]
    told = "acme-prd-202611230010 Auto 2026-11-23 01:15:05 CET 1.0 MB 1.0 MB 1 - 2026-12-23"
    assert " ".join(lines[1].split()) == told
    assert len(lines) == 5
    assert len(lcp("list", "--json").json()["backups"]) == 5


def test_one_that_cannot_be_read_is_listed_as_no_good_one(
    lcp: CommandLine, service: Service
) -> None:
    service.backups = [UNREADABLE, a_backup()]
    said = lcp("list")
    assert "unreadable: backup acme-prd-202611240015: damaged" in said.out
    assert BACKUP in said.out
    # It is none to guess a size by.
    assert "this program has a fault" not in lcp("create", "--wait").err


def test_failed_ones_are_listed_with_the_reason(lcp: CommandLine, service: Service) -> None:
    failed = a_backup(status="failed", error="the dump failed", database=None, volume=None)
    service.backups = [{**failed, "backupId": None, "createdAt": None, "type": None}]
    said = lcp("list", "--status", "failed")
    assert "failed: the dump failed" in said.out
    assert "status=failed" in service.asked[0]
    assert said.out.split()[:3] == ["id", "type", "began"]
    service.backups.append(a_backup())
    assert lcp("list", "--status", "all").out.split()[:5] == ["id", "type", "made,", "or", "began"]


def test_one_backup_is_shown_with_all_that_is_known_of_it(lcp: CommandLine) -> None:
    said = lcp("show", "latest")
    for text in (BACKUP, "8 tables", "3 files", "6e" * 32, "changed-while-read: a/b"):
        assert text in said.out
    assert lcp("show", BACKUP, "--json").json() == a_backup()


def test_schedules_are_shown_in_local_time_and_utc(lcp: CommandLine) -> None:
    said = lcp("schedules")
    assert "2026-11-24 01:15:00 CET  2026-11-24 00:15 UTC" in said.out
    assert lcp("schedules", "--json").json()["restore"] is None


def test_runs_are_listed_with_what_went_wrong(lcp: CommandLine, service: Service) -> None:
    error = {"code": "dump-failed", "message": "the dump broke off"}
    service.runs = {"r": [a_run(state="failed", error=error)]}
    assert "dump-failed: the dump broke off" in lcp("runs").out
    assert lcp("runs", "--state", "failed", "--json").json()["runs"][0]["error"] == error
    assert "state=failed" in service.asked[-1]


def test_the_last_step_of_a_run_that_succeeded_is_not_shown_as_under_way(
    lcp: CommandLine, service: Service
) -> None:
    service.runs = {"r": [a_run(step="publishing")], "s": [a_run(state="running", step="swapping")]}
    said = lcp("runs").out
    assert ("publishing" in said, "swapping" in said) == (False, True)


def test_following_a_run_ends_with_its_end_and_prints_json_lines(
    lcp: CommandLine, service: Service
) -> None:
    run = a_run()
    service.runs = {run["id"]: [a_run(state="queued"), a_run(state="running"), run]}
    said = lcp("run", run["id"], "--follow", "--json")
    assert said.code == 0
    assert [it["state"] for it in said.lines()] == ["queued", "running", "succeeded"]
    assert "create succeeded in 4 s" in lcp("run", run["id"], "--follow").out


@pytest.mark.parametrize(("losses", "told"), [(0, "2. Read"), (1, "2, 1 of them about something")])
def test_a_backup_that_was_made_with_warnings_says_so_when_it_is_waited_for(
    lcp: CommandLine, service: Service, losses: int, told: str
) -> None:
    run = a_run(result={"bytes": 7, "warnings": 2, "losses": losses})
    service.runs = {run["id"]: [run]}
    said = lcp("create", "--wait")
    assert f"warnings of the backup: {told}" in said.out
    assert f"lcp-backup show {BACKUP}" in said.out


def test_a_run_that_fails_while_it_is_followed_ends_the_json_lines_with_its_error(
    lcp: CommandLine, service: Service
) -> None:
    run = a_run(state="failed", error={"code": "died", "message": "out of memory"})
    service.runs = {run["id"]: [a_run(state="running"), run]}
    said = lcp("run", run["id"], "--follow", "--json")
    *records, error = said.lines()
    assert [it["state"] for it in records] == ["running", "failed"]
    assert (said.code, error["error"]["code"]) == (1, "died")


@pytest.mark.parametrize(
    ("error", "code"), [("dump-failed", 10), ("lease-held", 7), ("of-a-later-version", 1)]
)
def test_a_run_that_fails_while_it_is_waited_for_fails_the_command(
    lcp: CommandLine, service: Service, error: str, code: int
) -> None:
    told = {"code": error, "message": "the server went away"}
    run = a_run(state="failed", error=told)
    service.runs = {run["id"]: [a_run(state="running"), run]}
    said = lcp("create", "--wait", "--json")
    assert said.code == code
    assert "the create failed: the server went away" in said.err
    assert said.json()["error"]["run_id"] == run["id"]


def test_a_create_answers_its_run_or_waits_for_it(lcp: CommandLine, service: Service) -> None:
    run = a_run()
    service.runs = {run["id"]: [run]}
    assert f"lcp-backup run {run['id']} --follow" in lcp("create").out
    assert lcp("create", "--json").json()["run_id"] == run["id"]
    assert lcp("create", "--workers", "3").code == 0
    assert lcp("verify", "latest", "--workers", "2").code == 0
    assert service.bodies == [{"workers": 3}, {"workers": 2}]
    assert lcp("create", "--wait", "--json").json()["state"] == "succeeded"


def test_a_restore_shows_what_it_replaces_and_needs_the_environments_name(
    lcp: CommandLine, service: Service
) -> None:
    said = lcp("restore", "latest")
    assert said.code == 2  # nobody is there to be asked
    assert "REPLACE the whole database and REPLACE the whole document library" in said.err
    said = lcp("restore", BACKUP, "--yes", "dev")
    assert (said.code, "'dev' is not 'prd'" in said.err, "--yes prd" in said.err) == (6, True, True)
    assert not [it for it in service.asked if it.startswith("POST")]
    assert lcp("restore", "latest", "--yes", "prd").code == 0
    # The one that was shown, and not what is the latest by then.
    assert service.asked[-1] == f"POST /backup/restore/{BACKUP}"
    assert service.bodies == [{}]


def test_a_restore_says_that_the_latest_backup_is_one_that_somebody_uploaded(
    lcp: CommandLine, service: Service
) -> None:
    assert f"The backup {BACKUP} was made" in lcp("restore", "latest").err
    service.backups = [a_backup(type="Uploaded")]
    assert f"The uploaded backup {BACKUP} was made" in lcp("restore", "latest").err


def test_a_restore_says_under_which_name_it_kept_what_was_there(
    lcp: CommandLine, service: Service
) -> None:
    result = {"whole": False, "kept": ["lportal_20261127064357"], "scripts": []}
    run = a_run("restore", result=result)
    service.runs = {run["id"]: [run]}
    said = lcp("restore", "latest", "--keep-previous", "--yes", "prd", "--wait")
    assert "kept, for you to drop: lportal_20261127064357" in said.out
    shown = lcp("run", run["id"]).out
    assert ("scripts" in shown, "False" in shown) == (False, False)


def test_a_restore_of_parts_says_so_and_asks_for_no_more(
    lcp: CommandLine, service: Service
) -> None:
    said = lcp(
        *("restore", BACKUP, "--table", "User_", "--table", "Group_", "--into-database", "old"),
        *("--keep-previous", "--yes", "prd", "--workers", "3"),
    )
    assert "this will load the tables User_, Group_ into the schema old, and keep" in said.err
    asked = {"tables": ["User_", "Group_"], "into_database": "old", "keep_previous": True}
    assert service.bodies == [asked | {"workers": 3}]


def test_a_restore_that_runs_scripts_says_so(lcp: CommandLine, service: Service) -> None:
    said = lcp("restore", BACKUP, "--scripts", "--yes", "prd")
    assert "document library, and run the environment's scripts before the swap." in said.err
    assert service.bodies == [{"scripts": True}]


@pytest.mark.parametrize("option", ["--table", "--path", "--into-database", "--into-folder"])
def test_a_restore_of_an_empty_name_is_refused_before_it_says_what_it_replaces(
    lcp: CommandLine, service: Service, option: str
) -> None:
    said = lcp("restore", "latest", option, "", "--yes", "prd")
    assert (said.code, said.err) == (
        2,
        f"error: {option} is empty. Give it a value, or leave it out.\n",
    )
    assert lcp("pin", "latest", " ").err.startswith("error: the reason is empty. Give one.")
    assert service.asked == []


def test_a_backup_of_the_source_can_be_restored_though_it_is_not_listed_here(
    lcp: CommandLine, service: Service
) -> None:
    service.backups = []
    said = lcp("restore", BACKUP, "--yes", "prd")
    assert (said.code, "is not in the list of this environment" in said.err) == (0, True)
    assert lcp("restore", "latest", "--yes", "prd").code == 5


def test_a_deletion_has_to_be_meant(lcp: CommandLine, service: Service) -> None:
    assert lcp("delete", BACKUP).code == 2
    assert service.asked == []
    assert "Give --yes prd to do it" in lcp("delete", BACKUP).err
    # As a restore is confirmed; what scripts of earlier versions wrote deletes nothing.
    assert lcp("delete", BACKUP, "--yes").code == 2
    assert lcp("delete", BACKUP, "--yes", "--json").code == 6
    for command in (["delete", "latest", "--yes", "prd"], ["unpin", "latest"]):
        said = lcp(*command)
        assert (said.code, "this command wants the id itself" in said.err) == (2, True)
    said = lcp("delete", BACKUP, "--yes", "dev")
    assert (said.code, "'dev' is not 'prd', so nothing was done" in said.err) == (6, True)
    assert service.asked == []
    assert lcp("delete", BACKUP, "--yes", "prd").code == 0
    assert service.asked == [f"DELETE /backup/{BACKUP}"]


def test_scheduled_restores_are_paused_with_a_reason_and_start_again(
    lcp: CommandLine, service: Service
) -> None:
    assert lcp("pause", "--reason", "prd is down", "--json").json()["reason"] == "prd is down"
    assert lcp("resume").code == 0
    assert service.asked == ["PUT /backup/restore/pause", "DELETE /backup/restore/pause"]


def test_what_is_verified_and_pinned_is_shown(lcp: CommandLine, service: Service) -> None:
    pin = {"by": "ann", "reason": "the audit", "since": "2026-11-23T00:15:02Z"}
    service.backups = [a_backup(verification=VERIFIED, pinned=pin)]
    assert lcp("list").out.splitlines()[1].split()[-2:] == ["2026-11-23", "pinned"]
    shown = lcp("show", BACKUP).out
    assert "verified at 2026-11-23 04:00:00 CET, in 62 s" in shown
    assert "the audit" in shown
    bad = {**VERIFIED, "verdict": "bad", "error": "segment 7 is damaged"}
    service.backups = [a_backup(verification=bad)]
    assert " bad " in lcp("list").out
    assert "segment 7 is damaged" in lcp("show", BACKUP).out


def test_what_changed_how_long_it_stays_and_a_restore_takes_is_shown(
    lcp: CommandLine, service: Service
) -> None:
    change = {"since": "acme-prd-202611220015", "files": -2, "fileBytes": 3_000_000}
    change |= {"tables": 0, "sqlBytes": -1500}
    estimate = {"seconds": 425.0, "basis": "restores", "runId": "20261120T001502-restore-c3f44f3c"}
    service.backups = [a_backup(change=change, restoreEstimate=estimate)]
    shown = lcp("show", BACKUP).out
    assert "2.0 MB, for 23.0 MB of the site; -2 files (+3.0 MB), -1.5 KB of SQL since acme" in shown
    assert "takes about 7 min 5 s, by the last restores" in shown
    assert "there is a newer one" in shown
    said = lcp("restore", BACKUP, "--yes", "prd")
    assert "It takes about 7 min 5 s, by the last restores." in said.err
    assert "It takes" not in lcp("restore", BACKUP, "--table", "User_", "--yes", "prd").err


def test_usage_draws_what_each_day_stores_and_tells_the_cost_over_all_pages(
    lcp: CommandLine, service: Service
) -> None:
    service.usage = [
        {"created_at": f"2026-11-{day}T00:15:05Z", "stored_bytes": size, "whole_bytes": 5 * size}
        for day, size in ((25, 4_000_000), (24, 1_000_000), (24, 1_000_000), (23, 0))
    ]
    said = lcp("usage")
    rows = [line.split() for line in said.out.splitlines()[1:4]]
    assert [row[:4] for row in rows] == [
        ["2026-11-23", "1", "0", "B"],
        ["2026-11-24", "2", "2.0", "MB"],
        ["2026-11-25", "1", "4.0", "MB"],
    ]
    assert [len(row[4]) if row[4:] else 0 for row in rows] == [0, 16, 32]
    assert "Live in the bucket: 2.1 GB (backups 2.1 GB, deleted ones" in said.out
    assert "A month of that costs 0.05 USD" in said.out
    told = lcp("usage", "--json").json()
    assert (len(told["backups"]), told["live"]["total_bytes"]) == (4, 2_147_483_648)


def test_a_backup_is_pinned_with_a_reason_and_let_go(lcp: CommandLine, service: Service) -> None:
    assert lcp("pin", "latest", "the audit", "--json").json()["reason"] == "the audit"
    assert lcp("unpin", BACKUP).code == 0
    assert service.asked[1:] == [f"PUT /backup/{BACKUP}/pin", f"DELETE /backup/{BACKUP}/pin"]


def test_a_backup_that_is_bad_fails_its_verification(lcp: CommandLine, service: Service) -> None:
    error = {"code": "archive-damaged", "message": "segment 7 is damaged"}
    run = a_run("verify", "failed", error=error)
    service.runs = {run["id"]: [run]}
    said = lcp("verify", "latest", "--wait")
    assert (said.code, "the verify failed: segment 7 is damaged" in said.err) == (9, True)
    assert service.asked[0] == "POST /backup/verify/latest"


def test_a_report_is_told_in_a_sentence_and_its_list_put_into_a_folder(
    lcp: CommandLine, service: Service, tmp_path: Path
) -> None:
    told = {"text": "2 rows name files, 1 is missing", "madeAt": "2026-11-23T03:00:00Z"}
    service.backups = [a_backup(report=told)]
    run = a_run("report")
    service.runs = {run["id"]: [run]}
    service.objects["report"] = b'{"format":1}\n{"kind":"missing"}\n'
    lists = tmp_path / "lists"
    lists.mkdir()
    said = lcp("report", "latest", "--wait", "--dest", str(lists))
    assert (said.code, "report: 2 rows name files, 1 is missing" in said.out) == (0, True)
    assert service.asked[0] == "POST /backup/latest/report"
    (list_,) = lists.iterdir()
    assert list_.read_bytes() == service.objects["report"]
    assert "2 rows name files, 1 is missing, at 2026-11-23 04:00:00 CET" in lcp("show", BACKUP).out
    assert lcp("report", BACKUP, "--dest", str(lists)).code == 2
    assert lcp("report", BACKUP, "--wait", "--dest", str(list_)).code == 2
    assert lcp("report", BACKUP, "--wait", "--json").json() == run


def test_what_a_backup_holds_is_listed_over_all_pages(lcp: CommandLine, service: Service) -> None:
    file = {"kind": "file", "size": 4096, "mtime": "2026-11-20T09:15:00Z"}
    service.contents["files"] = [
        {**file, "name": "1.0", "path": "a/1.0"},
        {**file, "name": "b", "path": "a/b", "kind": "folder", "size": 0, "mtime": None},
        {**file, "name": "\\xff", "path": "base64:YS//"},
    ]
    lines = lcp("ls", BACKUP, "a/").out.splitlines()
    assert lines[1].split() == ["file", "4.1", "KB", "2026-11-20", "10:15:00", "CET", "a/1.0"]
    assert lines[3].endswith("base64:YS// (\\xff)")
    assert service.asked[0].startswith(f"GET /backup/{BACKUP}/files?path=a&")
    assert len(lcp("ls", "latest", "--json").json()["files"]) == 3
    table = {"name": "User_", "kind": "table", "size": 100, "sql_size": 900, "has_triggers": True}
    service.contents["tables"] = [table]
    assert "table, with triggers" in lcp("tables", "latest").out
    assert lcp("tables", BACKUP, "--json").json()["tables"] == [table]


def test_a_files_name_commands_no_terminal(lcp: CommandLine, service: Service) -> None:
    name = "\x1b]0;owned\x07\x9b2J"
    file = {"name": name, "path": name, "kind": "file", "size": 1, "mtime": None}
    service.contents["files"] = [file]
    assert "\\x1b]0;owned\\x07\\x9b2J" in lcp("ls", BACKUP).out
    assert lcp("ls", BACKUP, "--json").json()["files"] == [file]


def test_the_way_out_of_a_missing_backup_is_a_command_and_no_http_call(lcp: CommandLine) -> None:
    said = lcp("show", "acme-prd-209901010000")
    assert said.code == 5
    assert "lcp-backup list" in said.err
    assert "GET /" not in said.err


@pytest.mark.parametrize("typed", ["a/b", "../list", "", "latest/pin", "%2e%2e", "foo", "a-b-1"])
@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["ls"],
        ["tables"],
        ["download"],
        ["verify"],
        ["report"],
        ["restore", "--yes", "prd"],
        ["pin"],
        ["unpin"],
        ["delete", "--yes", "prd"],
        ["run"],
    ],
    ids=" ".join,
)
def test_what_is_no_id_is_told_alike_by_every_command_and_is_no_part_of_an_address(
    lcp: CommandLine, service: Service, command: list[str], typed: str
) -> None:
    said = lcp(*command, typed, *(["a reason"] if command == ["pin"] else []))
    assert said.code == 2
    assert f"{typed!r} is not a " in said.err
    assert service.asked == []


@pytest.mark.parametrize(
    ("live_site", "told"),
    [
        ("as-it-was", "It changed nothing of the live site."),
        ("swapping", "It failed while the live site was being replaced"),
        (None, "It was run"),
    ],
)
def test_a_restore_that_fails_tells_what_has_become_of_the_live_site(
    lcp: CommandLine, service: Service, live_site: str | None, told: str
) -> None:
    error = {"code": "load-failed", "message": "the server refused a row"}
    run = a_run("restore", "failed", error=error)
    run["result"] = {} if live_site is None else {"live_site": live_site}
    service.runs = {run["id"]: [run]}
    said = lcp("restore", "latest", "--yes", "prd", "--wait")
    assert said.code != 0
    assert told in said.err
