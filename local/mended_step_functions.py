"""Step Functions as AWS runs them, where MiniStack's differ; imported where MiniStack runs.

Each mend says what it mends. They lean on names that are private to the locked version:
tests/integration/test_mended_emulator.py sees whether each still bites. JSONPath alone is mended.
"""

import contextvars
import json
import re
import threading
from collections.abc import Callable
from typing import Any, Final

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region, now_iso
from ministack.services import lambda_svc
from ministack.services import stepfunctions as sfn

MOST_DATA: Final = 256 << 10
"""Bytes of a state's result or output; source: AWS's quotas of Step Functions."""
_TERMINAL: Final = {"States.DataLimitExceeded", "States.Runtime"}
_TRACEBACK: Final = "Traceback (most recent call last):\n"
_ERROR: Final = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)

_machine: Final = contextvars.ContextVar("machine", default="")
"""The ARN of the state machine on whose behalf this thread works."""


def mend() -> None:
    """Mends all; call it once, before MiniStack starts."""
    keep_error_classes()
    limit_data()
    limit_workers()
    end_for_good()
    time_out_executions()
    enforce_roles()


def keep_error_classes() -> None:
    """A Python error keeps its class, by which Retry and Catch tell errors apart.

    MiniStack calls all of them `Runtime.HandlerError`.
    """
    execute = lambda_svc._execute_function_warm

    def execute_and_name(*call: Any) -> Any:
        result = execute(*call)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict):
            _, found, trace = result.get("log", "").rpartition(_TRACEBACK)
            # Frames are indented, so the first line that is not names what was raised.
            raised = _ERROR.search(trace) if found else None
            if raised and body.get("errorType") == "Runtime.HandlerError":
                body["errorType"] = raised[1].rpartition(".")[2]
        return result

    lambda_svc._execute_function_warm = execute_and_name


def limit_data() -> None:
    """A state's result and its output have at most 256 KiB; MiniStack knows no limit."""
    sfn._apply_result_selector = _limited(sfn._apply_result_selector, of_result=True)
    sfn._apply_output_path = _limited(sfn._apply_output_path, of_result=False)


def _limited(apply: Callable[..., Any], *, of_result: bool) -> Callable[..., Any]:
    def apply_limited(state: dict[str, Any], data: Any, *more: Any) -> Any:
        made = apply(state, data, *more)
        if len(json.dumps(data if of_result else made).encode()) > MOST_DATA:
            raise sfn._ExecutionError(
                "States.DataLimitExceeded",
                "The state/task returned a result with a size exceeding the maximum number of"
                " bytes service limit.",
            )
        return made

    return apply_limited


def limit_workers() -> None:
    """MaxConcurrencyPath bounds how many items of a Map are done at once; MiniStack ignores it."""
    run_map = sfn._run_distributed_map

    def run_bounded(state: dict[str, Any], raw: Any, data: Any, *more: Any) -> Any:
        if "MaxConcurrencyPath" in state:
            most = sfn._resolve_path_or_ctx(state["MaxConcurrencyPath"], data, more[-1])
            state = {**state, "MaxConcurrency": most}
        return run_map(state, raw, data, *more)

    sfn._run_distributed_map = run_bounded


def end_for_good() -> None:
    """What has ended stays ended: States.ALL passes over terminal errors, as on AWS.

    And an execution that was stopped or timed out starts no task any more, nor do the children of
    its Maps, and no error of a task that was under way makes it a failed one.
    """
    matches, fail, run_task = sfn._error_matches, sfn._fail_execution, sfn._execute_task

    def matches_catchable(names: list[str], error: str) -> Any:
        return error in names if error in _TERMINAL else matches(names, error)

    def fail_running(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    def run_task_of_running(state: Any, data: Any, execution: Any, ctx: dict[str, Any]) -> Any:
        whole = sfn._executions.get(ctx["Execution"]["Id"])
        if whole is not None and whole["status"] != "RUNNING":
            raise sfn._ExecutionError("States.Runtime", "the execution has ended")
        return run_task(state, data, execution, ctx)

    sfn._error_matches = matches_catchable
    sfn._fail_execution = fail_running
    sfn._execute_task = run_task_of_running


def time_out_executions() -> None:
    """TimeoutSeconds of a whole machine ends its executions; MiniStack ignores it."""
    run = sfn._run_execution

    def run_timed(arn: str) -> None:
        execution = sfn._executions[arn]
        machine = sfn._state_machines.get(execution["stateMachineArn"])
        seconds = json.loads(machine["definition"]).get("TimeoutSeconds") if machine else None
        if seconds is None:
            run(arn)
            return

        def expire() -> None:
            if execution["status"] == "RUNNING":
                execution.update(status="TIMED_OUT", error="States.Timeout", stopDate=now_iso())
                sfn._add_event(execution, "ExecutionTimedOut", {})
                sfn._emit_execution_status_event(execution)

        # (The stores are of an account and a region, which the context names.)
        timer = threading.Timer(seconds, contextvars.copy_context().run, (expire,))
        timer.daemon = True
        timer.start()
        try:
            run(arn)
        finally:
            timer.cancel()

    sfn._run_execution = run_timed


def enforce_roles() -> None:
    """What a machine does, its role must allow; MiniStack asks no role.

    It is asked by IAM's own `evaluate`, so what was allowed is in the record too. What nobody here
    uses is refused rather than done with no right.
    """
    run, run_map = sfn._run_execution, sfn._run_distributed_map
    call, invoke, read_items = sfn._call_lambda, sfn._invoke_resource, sfn._read_map_items

    def run_as_machine(arn: str) -> None:
        _machine.set(sfn._executions[arn]["stateMachineArn"])
        run(arn)

    def invoke_known(resource: str, data: Any) -> Any:
        if _machine.get() and not resource.startswith("arn:aws:states:::lambda:invoke"):
            raise sfn._ExecutionError(
                "States.Runtime", f"local/mended_step_functions.py knows no rights for {resource}"
            )
        return invoke(resource, data)

    def call_allowed(function: str, event: Any) -> Any:
        arn = function
        if not arn.startswith("arn:"):
            arn = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{function}"
        _require("lambda:InvokeFunction", arn, "Lambda.AWSLambdaException")
        return call(function, event)

    def read_allowed(reader: dict[str, Any], data: Any, ctx: dict[str, Any]) -> Any:
        asked = sfn._resolve_params_obj(reader["Parameters"], data, ctx)
        bucket = f"arn:aws:s3:::{asked['Bucket']}"
        if reader["Resource"].endswith(":s3:listObjectsV2"):
            _require("s3:ListBucket", bucket, "States.ItemReaderFailed")
        else:
            _require("s3:GetObject", f"{bucket}/{asked['Key']}", "States.ItemReaderFailed")
        return read_items(reader, data, ctx)

    def run_map_allowed(*call: Any) -> Any:
        # Its items are executions of the machine itself.
        _require("states:StartExecution", _machine.get(), "StepFunctions.AccessDeniedException")
        return run_map(*call)

    sfn._run_execution, sfn._run_distributed_map = run_as_machine, run_map_allowed
    sfn._call_lambda, sfn._invoke_resource = call_allowed, invoke_known
    sfn._read_map_items = read_allowed


def _require(action: str, resource: str, error: str) -> None:
    machine = sfn._state_machines.get(_machine.get())
    if machine is None:  # something else than an execution asks, such as TestState
        return
    account, role = get_account_id(), machine["roleArn"].rpartition("/")[2]
    principal = f"arn:aws:sts::{account}:assumed-role/{role}/states"
    context = iam_evaluator.EvalContext(
        principal, "AssumedRole", account, action, resource, get_region()
    )
    policies = iam_evaluator._gather_role_policies(role, account)
    if iam_evaluator.evaluate(context, policies).decision != "Allow":
        raise sfn._ExecutionError(
            error,
            f"User: {principal} is not authorized to perform: {action} on resource: {resource}",
        )
