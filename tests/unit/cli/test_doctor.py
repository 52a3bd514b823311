"""A deployment judged from outside: each finding, and what to do about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.command_line import CommandLine, Said
from tests.support.pretended_service import Fault, Service, a_backup, a_run, a_token, problem

VERIFIED = {
    "verdict": "verified",
    "verifiedAt": "2026-11-23T03:00:00Z",
    "seconds": 61.5,
    "runId": "20261123T025900-verify-0a1b2c3d",
    "error": None,
}


@pytest.fixture(autouse=True)
def fresh(service: Service) -> None:
    """The last backup is of an hour ago, without a warning."""
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    service.backups = [a_backup(createdAt=at, warnings=0, verification=VERIFIED)]


def states(said: Said) -> dict[str, str]:
    return {it["what"]: it["state"] for it in said.json()["findings"]}


def test_all_is_well(lcp: CommandLine) -> None:
    said = lcp("doctor", "--json")
    assert said.code == 0
    assert set(states(said).values()) == {"ok"}
    assert "by access token" in lcp("doctor").out


def test_a_backup_that_is_late_is_a_problem(lcp: CommandLine, service: Service) -> None:
    at = (datetime.now(UTC) - timedelta(hours=37)).isoformat()
    service.backups = [a_backup(createdAt=at)]
    said = lcp("doctor", "--json")
    assert (said.code, states(said)["last backup"]) == (1, "problem")
    assert states(said)["its warnings"] == "warning"
    assert "although one is due every 24 h 0 min" in lcp("doctor").out
    service.backups = []
    assert "lcp-backup create --wait" in lcp("doctor").out


def test_a_last_backup_that_cannot_be_read_is_a_problem(lcp: CommandLine, service: Service) -> None:
    service.backups[0] |= {"status": "unreadable", "error": "damaged", "createdAt": None}
    said = lcp("doctor", "--json")
    assert (said.code, states(said)["last backup"]) == (1, "problem")
    assert "cannot be read: damaged" in lcp("doctor").out


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (Fault("GET /backup/health", 404, b"<html>"), "address"),
        (Fault("GET /backup/whoami", 401, problem("unauthenticated", 401)), "credential"),
    ],
    ids=["address", "credential"],
)
def test_without_an_address_or_a_credential_no_more_is_looked_at(
    lcp: CommandLine, service: Service, fault: Fault, what: str
) -> None:
    service.faults = [fault]
    said = lcp("doctor", "--json")
    assert (said.code, list(states(said).items())[-1]) == (1, (what, "problem"))


def test_a_token_that_ran_out_is_a_finding(lcp: CommandLine, service: Service) -> None:
    lcp.logged_in(service.url, a_token(lives=-60))
    said = lcp("doctor")
    assert (said.code, "ran out at" in said.out) == (1, True)


def test_a_wrong_clock_and_another_version_are_warnings(lcp: CommandLine, service: Service) -> None:
    health: dict[str, Any] = {"status": "ok", "version": "9.0.0"}
    service.clock_off = timedelta(minutes=10)
    service.faults = [Fault("GET /backup/health", 200, health)]
    said = lcp("doctor", "--json")
    assert (said.code, states(said)["clock"], states(said)["version"]) == (0, "warning", "warning")


def test_a_run_that_failed_last_is_a_problem(lcp: CommandLine, service: Service) -> None:
    error = {"code": "dump-failed", "message": "the dump broke off"}
    service.runs = {"r": [a_run(state="failed", error=error)]}
    said = lcp("doctor")
    assert "it failed: the dump broke off. docs/errors.md explains dump-failed" in said.out


def test_a_backup_that_was_not_proved_is_a_warning_and_a_bad_one_a_problem(
    lcp: CommandLine, service: Service
) -> None:
    last = service.backups[0]
    last["verification"] = None
    assert states(lcp("doctor", "--json"))["verification"] == "warning"
    last["verification"] = {**VERIFIED, "verdict": "bad", "error": "segment 7 is damaged"}
    said = lcp("doctor", "--json")
    assert (said.code, states(said)["verification"]) == (1, "problem")
