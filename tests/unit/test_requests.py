"""What the functions are asked, by a rule or by hand."""

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest

from lcp_backup.errors import InvalidRequest
from lcp_backup.model import BackupType
from lcp_backup.requests import CleanupRequest, CreateRequest, RestoreRequest, VerifyRequest

SCHEDULED = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-11-23T00:15:00Z",
    "region": "eu-central-1",
    "resources": ["arn:aws:events:eu-central-1:123456789012:rule/lcp-create-1"],
    "detail": {},
}


def test_a_scheduled_create_is_automatic_and_has_the_minute_it_fired_for() -> None:
    request = CreateRequest.read(SCHEDULED)
    assert request.type is BackupType.AUTO
    assert request.time == datetime(2026, 11, 23, 0, 15, tzinfo=UTC)


def test_a_create_by_hand_is_manual_and_of_now_or_of_the_time_it_names() -> None:
    before = datetime.now(UTC)
    request = CreateRequest.read({})
    assert request.type is BackupType.MANUAL
    assert before <= request.time <= datetime.now(UTC)
    named = CreateRequest.read({"time": "2026-11-23T00:15:00+01:00"})
    assert named.time == datetime(2026, 11, 22, 23, 15, tzinfo=UTC)


def test_a_restore_by_hand_says_what_it_restores() -> None:
    assert RestoreRequest.read({"backup_id": "latest"}).backup_id == "latest"
    assert RestoreRequest.read({"backup_id": "a-b-202611230015"}).only_if_new is False
    with pytest.raises(InvalidRequest, match="a restore needs"):
        RestoreRequest.read({})


@pytest.mark.parametrize("name", ["tables", "paths"])
def test_a_restore_of_nothing_is_no_restore_of_everything(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{name}: it names nothing"):
        RestoreRequest.read({"backup_id": "latest", name: []})


def test_a_scheduled_restore_takes_the_latest_and_only_once() -> None:
    request = RestoreRequest.read(SCHEDULED)
    assert (request.backup_id, request.only_if_new) == ("latest", True)


def test_a_cleanup_deletes_unless_it_is_told_not_to() -> None:
    assert CleanupRequest.read(SCHEDULED).dry_run is False
    assert CleanupRequest.read({}).dry_run is False
    assert CleanupRequest.read({"dry_run": True}).dry_run is True


@pytest.mark.parametrize(
    ("model", "event", "named"),
    [
        (CreateRequest, {"time": "yesterday"}, "time"),
        (CreateRequest, {"workers": 0}, "workers"),
        (CreateRequest, {"workers": 65}, "workers"),
        (CreateRequest, {"time": "2026-11-23T00:15:00"}, "time"),
        (CreateRequest, {"type": "Uploaded"}, "type"),
        (CreateRequest, {"tpye": "Manual"}, "tpye"),
        (RestoreRequest, {"backup_id": "../../etc"}, "backup_id"),
        (RestoreRequest, {"backup_id": ["a-b-202611230015"]}, "backup_id"),
        (RestoreRequest, {"backup_id": "latest", "force": True}, "force"),
        (CleanupRequest, {"dryrun": True}, "dryrun"),
        (CleanupRequest, {"dry_run": "perhaps"}, "dry_run"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    model: Any, event: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{named}: "):
        model.read(event)


@pytest.mark.parametrize("model", [CreateRequest, RestoreRequest, CleanupRequest, VerifyRequest])
def test_an_event_that_is_no_object_is_refused_in_words(model: Any) -> None:
    for event in ([], ["latest"], "latest"):
        with pytest.raises(InvalidRequest, match=r"^the event: it has to be a JSON object"):
            model.read(event)


@pytest.mark.parametrize(
    ("more", "refused"),
    [({}, True), ({"only": "volume"}, False), ({"tables": ["User_"]}, False)],
)
def test_nothing_is_promised_to_be_kept_of_a_site_that_is_overwritten(
    more: dict[str, object], *, refused: bool
) -> None:
    request = RestoreRequest.read({"backup_id": "latest", "keep_previous": True, **more})
    request.check_can_keep(restores_overwrite=False)
    with pytest.raises(InvalidRequest, match="OVERWRITE") if refused else nullcontext():
        request.check_can_keep(restores_overwrite=True)


@pytest.mark.parametrize("more", [{"tables": ["User_"]}, {"only": "volume"}, {"paths": ["a"]}])
def test_scripts_meet_all_tables_of_a_database(more: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="need the whole database"):
        RestoreRequest.read({"backup_id": "latest", "scripts": True, **more})


@pytest.mark.parametrize(
    ("more", "refused"),
    [({}, True), ({"only": "database"}, False), ({"into_database": "x"}, False)],
)
def test_scripts_are_refused_where_one_that_fails_would_leave_nothing(
    more: dict[str, object], *, refused: bool
) -> None:
    request = RestoreRequest.read({"backup_id": "latest", "scripts": True, **more})
    request.check_can_run_scripts(restores_overwrite=False)
    with pytest.raises(InvalidRequest, match="OVERWRITE") if refused else nullcontext():
        request.check_can_run_scripts(restores_overwrite=True)
