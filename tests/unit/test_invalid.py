"""What pydantic finds wrong is told in words for people who do not know pydantic."""

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from lcp_backup.invalid import first_problem


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Inner(BaseModel):
    number: int


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: Annotated[int, Field(ge=1, le=64)] = 1
    size: Annotated[int, Field(gt=0)] = 1
    flag: bool = False
    text: Annotated[str, Field(min_length=1, max_length=3)] = "a"
    code: Annotated[str, Field(pattern="^[a-f]+$")] = "a"
    names: Annotated[list[str], Field(max_length=2)] = []
    colour: Colour = Colour.RED
    action: Literal["pause", "resume"] = "pause"
    report: Literal[True] = True
    at: AwareDatetime | None = None
    day: datetime | None = None
    inner: Inner | None = None


def of_json(fields: Any) -> Asked:
    return Asked.model_validate_json(json.dumps(fields))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"number": 0}, "number: it has to be at least 1"),
        ({"number": 65}, "number: it has to be at most 64"),
        ({"size": 0}, "size: it has to be more than 0"),
        ({"number": "x"}, "number: it has to be a whole number"),
        ({"number": 1.5}, "number: it has to be a whole number"),
        ({"number": float("inf")}, "number: it has to be a finite number"),
        ({"number": []}, "number: it has to be a whole number"),
        ({"flag": "perhaps"}, "flag: it has to be true or false"),
        ({"flag": []}, "flag: it has to be true or false"),
        ({"text": ""}, "text: it must not be empty"),
        ({"text": "long"}, "text: it may have at most 3 characters"),
        ({"text": 1}, "text: it has to be text"),
        ({"code": "x"}, "code: it has to match ^[a-f]+$"),
        ({"names": "x"}, "names: it has to be a list"),
        ({"names": ["a", 1]}, "names.1: it has to be text"),
        ({"names": ["a", "b", "c"]}, "names: it may have at most 2 entries"),
        ({"colour": "blue"}, "colour: it has to be 'red' or 'green'"),
        ({"action": "stop"}, "action: it has to be 'pause' or 'resume'"),
        ({"report": False}, "report: it has to be true"),
        ({"at": "2026-11-23T00:15:00"}, "at: it has to be a time with its timezone, such as"),
        ({"at": "yesterday"}, "at: it has to be a time, such as 2026-11-23T00:15:00Z"),
        ({"day": []}, "day: it has to be a time, such as 2026-11-23T00:15:00Z"),
        ({"inner": 1}, "inner: it has to be a JSON object"),
        ({"inner": {}}, "inner.number: it is required"),
        ({"wrkers": 1}, "wrkers: there is no such field"),
        ([], ": it has to be a JSON object"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_allowed(fields: Any, told: str) -> None:
    for asked in (Asked.model_validate, of_json):
        with pytest.raises(ValidationError) as raised:
            asked(fields)
        where, message, is_malformed = first_problem(raised.value)
        assert (f"{where}: {message}".startswith(told), is_malformed) == (True, False), message


def test_what_is_no_json_is_told_as_malformed() -> None:
    with pytest.raises(ValidationError) as raised:
        Asked.model_validate_json(b"{")
    _, message, is_malformed = first_problem(raised.value)
    assert message.startswith("it is no JSON (")
    assert is_malformed
