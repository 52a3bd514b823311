"""What somebody at a terminal sees: prompts, bars, colours, and Ctrl-C."""

import json
import os
import pty
import re
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.pretended_service import (
    BACKUP,
    PASSWORD,
    USER,
    Fault,
    Service,
    a_challenge,
    a_run,
    problem,
)

_PATIENCE = 60
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A pseudo-terminal with the program in it."""

    def __init__(self, cli: CommandLine, *arguments: str | Path, columns: int = 120) -> None:
        self.master, slave = pty.openpty()
        cli.env |= {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
        self.process = cli.start(
            *arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.raw = ""
        self._seen = 0

    @property
    def text(self) -> str:
        """All that was shown, without escapes."""
        return _ESCAPES.sub("", self.raw)

    def until(self, wanted: str) -> None:
        """Waits until this was shown."""
        end = time.monotonic() + _PATIENCE
        while wanted not in self.text:
            assert self._read(end), f"{wanted!r} was not shown: {self.text}"

    def then(self, wanted: str) -> None:
        """Waits until this was shown, behind what was waited for before."""
        end = time.monotonic() + _PATIENCE
        while wanted not in self.text[self._seen :]:
            assert self._read(end), f"{wanted!r} was not shown: {self.text}"
        self._seen = self.text.index(wanted, self._seen) + len(wanted)

    def type(self, text: str) -> None:
        """As a person at the keyboard."""
        os.write(self.master, f"{text}\n".encode())

    def end(self) -> int:
        """Waits for the end; answers the exit code."""
        end = time.monotonic() + _PATIENCE
        while self._read(end):
            assert time.monotonic() < end, f"it goes on: {self.text[-1000:]}"
        return self.process.wait(_PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
        try:
            more = os.read(self.master, 65536) if ready else b""
        except OSError:  # Linux's way to say that nobody has it open any more
            more = b""
        self.raw += more.decode(errors="replace")
        return bool(more)


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    shown: list[Screen] = []
    yield shown
    for screen in shown:
        screen.close()


def test_a_password_is_asked_for_and_shown_nowhere(
    stranger: CommandLine, service: Service, screens: list[Screen]
) -> None:
    screen = Screen(stranger, "login", service.url)
    screens.append(screen)
    screen.until("User: ")
    screen.type(USER)
    screen.until(f"Password of {USER}: ")
    screen.type(PASSWORD)
    screen.until("You are")
    for of_process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            assert PASSWORD.encode() not in of_process.read_bytes()
    assert screen.end() == 0
    assert PASSWORD not in screen.raw
    assert next(iter(service.tokens)) not in screen.raw


def test_what_the_user_pool_asks_beside_the_password_is_asked_one_after_the_other(
    stranger: CommandLine, service: Service, screens: list[Screen]
) -> None:
    service.challenges = [
        a_challenge("NEW_PASSWORD_REQUIRED"),
        a_challenge("MFA_SETUP", secret="JBSWY3DPEHPK3PXP"),
        a_challenge("SELECT_MFA_TYPE", choices=["SMS_MFA", "SOFTWARE_TOKEN_MFA"]),
        a_challenge("SMS_MFA", sent_to="+***12"),
    ]
    service.right_answers = {"another-Secret9", "271828", "SMS_MFA"}
    stranger.env |= {"LCP_BACKUP_USER": USER, "LCP_BACKUP_PASSWORD": PASSWORD}
    screen = Screen(stranger, "login", service.url)
    screens.append(screen)
    for question, typed in (
        ("New password: ", "another-Secret9"),
        ("The same again: ", "another-Secret8"),
        ("These were two different ones.", ""),
        ("New password: ", "another-Secret9"),
        ("The same again: ", "another-Secret9"),
        ("JBSWY3DPEHPK3PXP", ""),
        ("Code that the app shows now: ", "000000"),
        ("Once more:", ""),
        ("Code that the app shows now: ", "271828"),
        ("Second factor (SMS_MFA or SOFTWARE_TOKEN_MFA): ", "SMS_MFA"),
        ("Code that was sent to +***12: ", "271828"),
        ("You are", ""),
    ):
        screen.then(question)
        if typed:
            screen.type(typed)
    assert screen.end() == 0
    assert "another-Secret" not in screen.raw
    assert [it["answer"] for it in service.answers] == [
        *("another-Secret9", "000000", "271828", "SMS_MFA", "271828")
    ]


def test_a_restore_goes_on_only_when_the_environments_name_is_typed(
    lcp: CommandLine, service: Service, screens: list[Screen]
) -> None:
    for typed, code in (("dev", 6), ("prd", 0)):
        screen = Screen(lcp, "restore", "latest")
        screens.append(screen)
        screen.until("Type the environment's name (prd) to go on: ")
        screen.type(typed)
        assert screen.end() == code
    assert service.asked.count(f"POST /backup/restore/{BACKUP}") == 1


def test_ctrl_c_while_waiting_leaves_the_run_going_and_says_how_to_follow_it(
    lcp: CommandLine, service: Service, screens: list[Screen]
) -> None:
    run = a_run(state="running", progress={"database": 7_600_000})
    service.runs = {run["id"]: [run]}
    screen = Screen(lcp, "create", "--wait")
    screens.append(screen)
    # Of the last backup's 15.2 MB, as a bar, with rate and time left.
    screen.until("7.6/15.2 MB")
    # What it does has a line of its own: beside a bar it would fill the screen.
    assert re.search(rf"{run['id']}: running, .*\n", screen.text)
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert f"Follow it again: lcp-backup run {run['id']} --follow" in screen.text
    assert "Traceback" not in screen.text
    assert not [it for it in service.asked if it.startswith("DELETE")]


def test_ctrl_c_stops_a_download_which_then_goes_on(
    lcp: CommandLine, service: Service, screens: list[Screen], tmp_path: Path
) -> None:
    service.objects = {"volume": os.urandom(9_000_000)}
    service.pause = 0.05
    command = ("download", BACKUP, "--volume", "--dest", tmp_path)
    screen = Screen(lcp, *command)
    screens.append(screen)
    screen.until("9.0 MB")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "Run the same command again" in screen.text
    assert not (tmp_path / f"{BACKUP}-volume.tgz").exists()
    service.pause = 0.0
    assert lcp(*command).code == 0


def test_ctrl_c_while_an_archive_is_assembled_says_how_to_go_on(
    lcp: CommandLine, service: Service, screens: list[Screen], tmp_path: Path
) -> None:
    body = problem("download-not-ready", 503, run_id="20261123T001500-download-0a1b2c3d")
    service.faults = [Fault("GET /backup/download/.*", 503, body, {"Retry-After": "60"}, times=9)]
    screen = Screen(lcp, "download", BACKUP, "--volume", "--dest", tmp_path)
    screens.append(screen)
    screen.until("being assembled")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "Run the same command again" in screen.text


def test_a_file_that_is_there_already_is_told_on_a_line_of_its_own(
    lcp: CommandLine, service: Service, screens: list[Screen], tmp_path: Path
) -> None:
    service.objects = {"volume": b"all of it"}
    command = ("download", BACKUP, "--volume", "--dest", tmp_path)
    assert lcp(*command).code == 0
    screen = Screen(lcp, *command)
    screens.append(screen)
    assert screen.end() == 0
    # No bar before it, and none again behind it.
    *_, last = screen.text.rstrip().splitlines()
    assert "is there already." in last
    assert "bytes" not in last


def test_ctrl_c_is_no_traceback_even_while_the_program_starts(lcp: CommandLine) -> None:
    for after in range(1, 16):
        started = lcp.start("list")
        time.sleep(after / 100)
        started.send_signal(signal.SIGINT)
        # What Python does before, and says of it, is Python's.
        said = started.communicate(timeout=30)[1]
        assert not re.search(r'__main__\.py", line \d+, in main', said), said


def test_what_a_terminal_has_no_characters_for_ends_no_command(lcp: CommandLine) -> None:
    lcp.env["PYTHONIOENCODING"] = "ascii"
    for command in ("usage", "ls"):
        for more in ([], ["--json"]):
            started = lcp.start(command, *(["latest"] if command == "ls" else []), *more)
            out, err = started.communicate(timeout=30)
            assert (started.returncode, err) == (0, "")
            assert not more or json.loads(out)


def test_colours_are_for_terminals_and_for_those_who_want_them(
    lcp: CommandLine, service: Service, screens: list[Screen]
) -> None:
    service.runs = {"r": [a_run()]}
    coloured = Screen(lcp, "runs")
    screens.append(coloured)
    assert coloured.end() == 0
    assert "\x1b[32m" in coloured.raw
    lcp.env["NO_COLOR"] = "1"
    plain = Screen(lcp, "runs")
    screens.append(plain)
    assert plain.end() == 0
    assert "\x1b[32m" not in plain.raw
    assert "\x1b" not in lcp("runs").out


def test_an_id_is_never_broken_into_lines_however_narrow_the_terminal_is(
    lcp: CommandLine, service: Service, screens: list[Screen]
) -> None:
    run = a_run()
    service.runs = {run["id"]: [run]}
    for command in ("list", "runs"):
        for columns in (80, 40):
            screen = Screen(lcp, command, columns=columns)
            screens.append(screen)
            assert screen.end() == 0
            assert BACKUP in screen.text
            assert command == "list" or run["id"] in screen.text


def test_a_long_sentence_in_a_table_is_broken_between_words(
    lcp: CommandLine, screens: list[Screen]
) -> None:
    screen = Screen(lcp, "doctor", columns=80)
    screens.append(screen)
    screen.end()
    assert all(len(line) <= 80 for line in screen.text.splitlines())
    assert "lcp-backup verify latest --wait." in screen.text.replace("\r", "")


def test_a_login_without_a_name_or_password_asks_nobody(
    stranger: CommandLine, service: Service, screens: list[Screen]
) -> None:
    screen = Screen(stranger, "login", service.url)
    screens.append(screen)
    screen.until("User: ")
    screen.type("")
    assert screen.end() == 2
    assert "no name was typed" in screen.text
    assert not service.asked
