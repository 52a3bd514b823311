"""MiniStack as we need it, with a record of what its IAM allowed; run by its own Python, not ours.

The first argument is a file: it gets a line of JSON for every new combination of principal, action
and resource that policies allowed. The account's own user is above them and does not appear.

It also says what AWS says of a write: whether it makes an object, and on what condition. What else
of S3, Step Functions and ECS differs from AWS's is mended beside, in mended_s3.py,
mended_step_functions.py and mended_ecs.py.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services.cloudformation import changesets, engine, handlers, stacks


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
            }
        )
        if result.decision == "Allow" and line not in seen:
            seen.add(line)
            with record.open("a") as file:
                file.write(f"{line}\n")
        return result

    return evaluate_and_record


def over_tls(pin: Callable[[str, bool], None]) -> Callable[[str, bool], None]:
    """Takes the loopback address for TLS: the bucket's policy refuses everything else."""
    return lambda address, _secure: pin(address, True)


def naming_rules(extract: Callable[..., str]) -> Callable[..., str]:
    """The resource a request is about, with the rules of the default bus named as on AWS."""

    def extract_rule(service: str, *request: Any) -> str:
        if service != "events":
            return extract(service, *request)
        _method, _path, _headers, body, _query, region, account_id = request
        asked = json.loads(body or b"{}")
        rule = asked.get("Rule") or asked.get("Name")
        if rule is None or asked.get("EventBusName"):
            return extract(service, *request)
        return f"arn:aws:events:{region}:{account_id}:rule/{rule}"

    return extract_rule


def telling_of_writes(keys_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The condition keys of a request to S3, with those that a conditional write has on AWS.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
    """

    def keys_with_writes(
        action: str,
        query: dict[str, Any] | None,
        path: str = "",
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        keys = keys_of(action, query, path, headers)
        if action != "s3:PutObject":
            return keys
        asked, sent = query or {}, headers or {}
        # The start of a multipart upload and its parts make no object; its completion, a POST
        # with the upload's id, does.
        part = "uploads" in asked or "partNumber" in asked
        keys = {**keys, "s3:ObjectCreationOperation": "false" if part else "true"}
        if (condition := sent.get("if-none-match")) is not None:
            keys["s3:if-none-match"] = condition
        return keys

    return keys_with_writes


def splitting(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """The evaluation of a template's conditions, which of MiniStack alone knows no Fn::Split."""

    def evaluate_split(template: dict[str, Any], params: dict[str, Any]) -> Any:
        def split(value: Any) -> Any:
            match value:
                case {"Fn::Split": [separator, {"Ref": name}]}:
                    return params[name]["Value"].split(separator)
                case dict():
                    return {key: split(inner) for key, inner in value.items()}
                case list():
                    return [split(inner) for inner in value]
            return value

        conditions = split(template.get("Conditions", {}))
        return evaluate({**template, "Conditions": conditions}, params)

    return evaluate_split


if __name__ == "__main__":
    evaluate_conditions = splitting(engine._evaluate_conditions)
    for module in (changesets, engine, handlers, stacks):
        if hasattr(module, "_evaluate_conditions"):
            module._evaluate_conditions = evaluate_conditions
    iam_evaluator.pin_request_origin = over_tls(iam_evaluator.pin_request_origin)
    iam_actions.extract_resource_arn = naming_rules(iam_actions.extract_resource_arn)
    iam_actions.s3_service_context = telling_of_writes(iam_actions.s3_service_context)
    iam_evaluator.evaluate = recording(iam_evaluator.evaluate, Path(sys.argv.pop(1)))
    # A script finds what lies beside it, and `local` lies one folder further up.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from local import mended_ecs, mended_s3, mended_step_functions

    mended_s3.mend()
    mended_step_functions.mend()
    mended_ecs.mend()
    from ministack.app import main

    main()
