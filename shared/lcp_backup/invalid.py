"""What pydantic finds wrong, as a sentence for who sent it: the first problem, never the value."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from pydantic import ValidationError

_WORDS: Final = {
    "missing": "it is required",
    "extra_forbidden": "there is no such field",
    "json_invalid": "it is no JSON ({error})",
    "json_type": "it has to be JSON",
    "greater_than_equal": "it has to be at least {ge}",
    "greater_than": "it has to be more than {gt}",
    "less_than_equal": "it has to be at most {le}",
    "less_than": "it has to be less than {lt}",
    "int_type": "it has to be a whole number",
    "int_parsing": "it has to be a whole number",
    "int_parsing_size": "it has to be a whole number, and not so large a one",
    "finite_number": "it has to be a finite number",
    "int_from_float": "it has to be a whole number",
    "float_type": "it has to be a number",
    "float_parsing": "it has to be a number",
    "bool_type": "it has to be true or false",
    "bool_parsing": "it has to be true or false",
    "string_type": "it has to be text",
    "string_unicode": "it has to be text of whole characters",
    "string_too_long": "it may have at most {max_length} characters",
    "string_pattern_mismatch": "it has to match {pattern}",
    "list_type": "it has to be a list",
    "tuple_type": "it has to be a list",
    "too_short": "it names nothing: leave it out, which means all, or name at least {min_length}",
    "too_long": "it may have at most {max_length} entries",
    "dict_type": "it has to be a JSON object",
    "model_type": "it has to be a JSON object",
    "model_attributes_type": "it has to be a JSON object",
    "literal_error": "it has to be {expected}",
    "enum": "it has to be {expected}",
    "timezone_aware": "it has to be a time with its timezone, such as 2026-11-23T00:15:00Z",
    "datetime_type": "it has to be a time, such as 2026-11-23T00:15:00Z",
    "datetime_parsing": "it has to be a time, such as 2026-11-23T00:15:00Z",
    "datetime_from_date_parsing": "it has to be a time, such as 2026-11-23T00:15:00Z",
}
"""By pydantic's type of an error, with what its context names. Its own sentences speak of inputs
and strings, to people who know neither."""


def _in_words(details: Mapping[str, Any]) -> str:
    context = details.get("ctx") or {}
    if details["type"] == "string_too_short" and context["min_length"] == 1:
        return "it must not be empty"
    if context.get("expected") == "True":
        return "it has to be true"
    if words := _WORDS.get(details["type"]):
        return words.format(**context)
    return str(details["msg"]).removeprefix("Value error, ")


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
            _in_words(details),
            details["type"] == "json_invalid",
        )


def first_problem(error: ValidationError) -> Invalid:
    """The first thing that is wrong."""
    return Invalid.of(error.errors(include_url=False, include_input=False)[0])
