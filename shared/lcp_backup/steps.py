"""What the state machines ask their functions for."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from lcp_backup.requests import Request, RunIdText


class StepRequest(Request):
    """Do one step of a run that several functions work on."""

    run_id: RunIdText
    error: dict[str, str] = Field(default_factory=dict)
    """To abort, and after a task: what Step Functions says of a failure, its `Error` and
    `Cause`."""

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From `{"run_id": ..., "step": ...}`; raises InvalidRequest."""
        return cls._read(event)


type CreateStep = Literal["plan", "snapshot", "dump", "dumped", "pack", "again", "publish", "abort"]
"""What the state machine of a create asks its workers for, in this order; `dumped` only where the
dump is a task's."""


class CreateStepRequest(StepRequest):
    """One of a create."""

    step: CreateStep
    plan: str = ""
    """To pack: of which plan the share is."""
    share: Annotated[int, Field(ge=0)] = 0
    """To pack: which share."""


type RestoreStep = Literal[
    "tables", "rows", "indexes", "load", "loaded", "unpack", "attributes", "swap", "abort"
]
"""What the state machine of a restore asks its workers for, in this order; the first five beside
the next two. `loaded` only where a task was left to load."""


class RestoreStepRequest(StepRequest):
    """One of a restore."""

    step: RestoreStep
    portion: Annotated[int, Field(ge=0)] = 0
    """To unpack, to load rows or to build indexes: which portion."""


type VerifyStep = Literal[
    "tables", "rows", "indexes", "database", "loaded", "read", "conclude", "abort"
]
"""What the state machine of a verification asks for, in this order; the first five beside `read`.
`loaded` as of a restore."""


class VerifyStepRequest(StepRequest):
    """One of a verification."""

    step: VerifyStep
    portion: Annotated[int, Field(ge=0)] = 0
    """To read, to load rows or to build indexes: which portion."""


type AssembleStep = Literal["piece", "join", "abort"]
"""What the state machine of an assembly asks for, in this order."""


class AssembleStepRequest(StepRequest):
    """One of an assembly."""

    step: AssembleStep
    portion: Annotated[int, Field(ge=0)] = 0
    """Of which portion of the volume the piece is."""


class UploadStepRequest(StepRequest):
    """After the task of an upload, however it ended."""

    step: Literal["ended"]
    execution: str
    """Which one this is of those that the run was left to."""
