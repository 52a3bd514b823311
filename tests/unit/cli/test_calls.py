"""How calls fail, and when they are made again."""

import errno
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from lcp_backup_cli import client, network
from lcp_backup_cli.errors import EXIT_BY_CODE, Exit
from tests.support.command_line import CommandLine
from tests.support.pretended_service import Fault, Service, problem

_DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are made again without a wait, unless the service asks for one."""
    for module in (client, network):
        monkeypatch.setattr(module, "backoff", lambda _attempt: 0.0)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET .*", 429, {"message": "Too Many Requests"}, times=2),
        Fault("GET .*", 429, problem("throttled", 429), {"Retry-After": "0"}),
        Fault("GET .*", 500, b"<html>"),
        Fault("GET .*", 502, b""),
        Fault("GET .*", 503, problem("storage-failed", 503), {"Retry-After": "0"}, times=5),
        Fault("GET .*", 504, {"message": "Endpoint request timed out"}),
    ],
    ids=lambda fault: str(fault.status),
)
def test_what_may_pass_is_asked_for_again(lcp: CommandLine, service: Service, fault: Fault) -> None:
    service.faults = [fault]
    said = lcp("list", "--json")
    assert (said.code, len(said.json()["backups"])) == (0, 1)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_post_that_may_have_taken_effect_is_not_repeated(
    lcp: CommandLine, service: Service, status: int
) -> None:
    service.faults = [Fault("POST .*", status, {"message": "gateway"})]
    assert lcp("create").code in {1, 8}
    assert [it for it in service.asked if it.startswith("POST")] == ["POST /backup/create"]


def test_a_post_that_certainly_did_nothing_is_repeated(lcp: CommandLine, service: Service) -> None:
    service.faults = [Fault("POST .*", 429, {"message": "Too Many Requests"})]
    assert lcp("create").code == 0


@pytest.mark.parametrize(
    ("status", "body", "code", "sentence"),
    [
        (
            404,
            problem("not-found", 404, "there is no x"),
            5,
            "there is no x. lcp-backup list, runs, ls and tables show what there is.",
        ),
        (
            404,
            problem("no-such-path", 404, "GET /x/backup/list is no call"),
            5,
            "is no call. Check the address, which is the stack's output ApiUrl",
        ),
        (403, problem("forbidden", 403, "bob may look only"), 4, "bob may look only"),
        (
            409,
            problem("lease-held", 409, "run r is writing"),
            7,
            "run r is writing. Wait until that run has ended (lcp-backup run ID --follow)",
        ),
        (500, problem("download-failed", 500, "run r failed"), 1, "run r failed"),
        (500, problem("of-a-later-version", 500, "new"), 1, "new"),
        (200, b"<html>a proxy's login page</html>", 1, "is no answer of LCP Backup"),
        (302, b"", 1, "is no answer of LCP Backup"),
        (404, {"message": "Not Found"}, 5, "404: Not Found. Check the address"),
    ],
    ids=str,
)
def test_an_error_is_one_sentence_with_the_way_out_and_its_exit_code(
    lcp: CommandLine, service: Service, status: int, body: object, code: int, sentence: str
) -> None:
    service.faults = [Fault("GET .*", status, body, {"Location": "http://127.0.0.1:1/"})]
    said = lcp("schedules", "--json")
    assert said.code == code
    assert said.err.startswith("error: ")
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.json()["error"]["exit_code"] == code


def test_where_nothing_listens_is_told_with_the_name_of_the_host(
    stranger: CommandLine, service: Service
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    stranger.logged_in(f"http://{host}", next(iter(service.tokens)))
    said = stranger("list")
    assert (said.code, f"{host} cannot be reached" in said.err) == (8, True)


def of_a_certificate() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("cause", "told", "attempts"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no host of this", 1),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "names cannot be looked up", 2),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "nothing listens there", 2),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no network leads there", 2),
        (of_a_certificate(), "not trusted (self-signed certificate)", 1),
        (ssl.SSLError("WRONG_VERSION_NUMBER"), "is it https?", 1),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_wrong_address_is_told_in_words_and_not_tried_for_long(
    lcp: CommandLine, monkeypatch: pytest.MonkeyPatch, cause: OSError, told: str, attempts: int
) -> None:
    tried = []

    def broken(*_: object, **__: object) -> httpx.Response:
        tried.append(1)
        raise httpx.ConnectError(str(cause)) from cause

    monkeypatch.setattr(httpx.Client, "request", broken)
    said = lcp("list")
    assert (said.code, told in said.err, len(tried)) == (8, True, attempts), said.err
    assert "Errno" not in said.err


def test_a_line_that_is_lost_later_is_waited_for_patiently(
    lcp: CommandLine, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lost = httpx.Client.request, [0]

    def now_and_then(self: httpx.Client, method: str, url: str, **more: Any) -> httpx.Response:
        if service.asked and lost[0] < 4:
            lost[0] += 1
            raise httpx.ConnectError("lost") from socket.gaierror(socket.EAI_NONAME, "lost")
        return real(self, method, url, **more)

    monkeypatch.setattr(httpx.Client, "request", now_and_then)
    assert lcp("show", "latest").code == 0
    assert lost == [4]


def test_debug_shows_calls_and_a_traceback_and_never_a_credential(
    lcp: CommandLine, service: Service
) -> None:
    service.faults = [Fault("GET .*", 404, problem("not-found", 404))]
    assert "Traceback" not in lcp("schedules").err
    service.faults = [Fault("GET .*", 404, problem("not-found", 404))]
    said = lcp("schedules", "--debug")
    assert "debug: GET /backup/schedules: 404" in said.err
    assert "Traceback" in said.err
    assert next(iter(service.tokens)) not in said.err


def test_every_error_code_of_the_service_has_an_exit_code_and_the_page_says_which() -> None:
    codes = set(re.findall(r"^\| `([a-z-]+)` \|", (_DOCS / "errors.md").read_text(), re.MULTILINE))
    assert set(EXIT_BY_CODE) == codes
    page = (_DOCS / "cli.md").read_text()
    told: dict[str, int] = {}
    for number, text in re.findall(r"^\| (\d+) \|(.*)\|$", page, re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"`([a-z-]+)`", text), int(number))
    assert {code: int(value) for code, value in EXIT_BY_CODE.items()} == told
    numbers = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert [int(it) for it in numbers] == [int(it) for it in Exit]
