"""What the state machine of a verification asks its functions for."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from lcp_backup.requests import _Request, _RunId

type VerifyStep = Literal["database", "read", "conclude", "abort"]
"""In this order; the first two side by side."""


class VerifyStepRequest(_Request):
    """Do one step of a verification that several functions work on."""

    run_id: _RunId
    step: VerifyStep
    portion: Annotated[int, Field(ge=0)] = 0
    """To read: which portion."""
    error: dict[str, str] = Field(default_factory=dict)
    """To abort: what Step Functions says of the failure, its `Error` and `Cause`."""

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From `{"run_id": ..., "step": ...}`; raises InvalidRequest."""
        return cls._read(event)
