"""What cleanup takes away is planned, and then carried out; a dry run carries nothing out.

The steps of a plan are handed over one by one, each when it is decided: later ones build on it, and
what was read must not grow old, since another run may write there again.
"""

from collections.abc import Callable

type Step = Callable[[], None]
"""A step of a plan, still to be done; may be done again after a kill."""
type CarryOut = Callable[[Step], None]
"""What becomes of the steps: `carry_out`, or in a dry run `only_plan`."""


def carry_out(step: Step) -> None:
    """Does what was planned; raises what the step raises."""
    step()


def only_plan(step: Step) -> None:
    """Leaves everything as it is."""
