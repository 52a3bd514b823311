"""MiniStack, with a record of what its IAM decided; run by the emulator's own Python, not ours.

The first argument is a file: it gets a line of JSON for every new combination of principal, action,
resource and decision. The account's own user is above all policies and does not appear.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator


def recording(evaluate: Callable[..., Any], record: Path) -> Callable[..., Any]:
    """The function `evaluate` of MiniStack, which writes down what it answers."""
    seen: set[str] = set()

    def evaluate_and_record(context: Any, *policies: Any) -> Any:
        result = evaluate(context, *policies)
        line = json.dumps(
            {
                "principal": context.principal_arn,
                "action": context.action,
                "resource": context.resource_arn,
                "decision": result.decision,
            }
        )
        if line not in seen:
            seen.add(line)
            with record.open("a") as file:
                file.write(f"{line}\n")
        return result

    return evaluate_and_record


if __name__ == "__main__":
    iam_evaluator.evaluate = recording(iam_evaluator.evaluate, Path(sys.argv.pop(1)))
    from ministack.app import main

    main()
