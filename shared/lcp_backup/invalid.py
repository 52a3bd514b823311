"""What pydantic finds wrong, as a sentence for who sent it: the first problem, never the value."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pydantic import ValidationError


class Invalid(NamedTuple):
    """One thing that is wrong; it is told as `<where>: <message>`."""

    where: str
    """The way to the field, with dots; empty for the document itself."""
    message: str
    """What is wrong, or what is allowed: a check's own sentence as it was written."""
    is_malformed: bool
    """Whether it is no JSON at all."""

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Self:
        """From one of pydantic's errors."""
        return cls(
            ".".join(str(step) for step in details["loc"]),
            str(details["msg"]).removeprefix("Value error, "),
            details["type"] == "json_invalid",
        )


def first_problem(error: ValidationError) -> Invalid:
    """The first thing that is wrong."""
    return Invalid.of(error.errors(include_url=False, include_input=False)[0])
