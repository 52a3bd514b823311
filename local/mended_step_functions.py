"""Step Functions as AWS runs them, where MiniStack's differ; imported where MiniStack runs.

Each mend says what it mends. They lean on names that are private to the locked version:
tests/integration/test_mended_emulator.py sees whether each still bites. JSONPath alone is mended.
"""

import contextvars
import json
import queue
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

_KNOWN: Final = ("arn:aws:states:::lambda:invoke", "arn:aws:states:::ecs:runTask")
"""Of what is asked of other services, what its role is asked for: ECS in mended_ecs.py."""

_machine: Final = contextvars.ContextVar("machine", default="")
"""The ARN of the state machine on whose behalf this thread works."""
_execution: Final = contextvars.ContextVar("execution", default="")
"""The ARN of the execution on whose behalf this thread works."""
_failed_beside: Final = contextvars.ContextVar[tuple[threading.Event, ...]]("beside", default=())
"""Each is set once another branch has failed of a Parallel in which this thread is a branch."""


def is_over() -> bool:
    """Whether what this thread does is in vain: its execution or its Parallel has ended."""
    whole = sfn._executions.get(_execution.get())
    ended = whole is not None and whole["status"] != "RUNNING"
    return ended or any(event.is_set() for event in _failed_beside.get())


def mend() -> None:
    """Mends all; call it once, before MiniStack starts."""
    keep_error_classes()
    limit_data()
    limit_workers()
    end_for_good()
    end_all_branches()
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
        _execution.set(ctx["Execution"]["Id"])
        if is_over():
            raise sfn._ExecutionError("States.Runtime", "the execution has ended")
        return run_task(state, data, execution, ctx)

    sfn._error_matches = matches_catchable
    sfn._fail_execution = fail_running
    sfn._execute_task = run_task_of_running


def end_all_branches() -> None:
    """A branch that fails ends its Parallel at once; MiniStack waits for all others first.

    What these have begun goes on, as on AWS, and nothing more of them is begun.
    """

    def run_branches(
        state: dict[str, Any], data: Any, execution: Any, ctx: dict[str, Any]
    ) -> tuple[Any, Any]:
        effective = sfn._apply_parameters(state, sfn._apply_input_path(state, data, ctx), ctx)
        failed = threading.Event()
        _failed_beside.set((*_failed_beside.get(), failed))
        ended: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

        def run(number: int, branch: dict[str, Any]) -> None:
            try:
                made = sfn._run_sub_machine(
                    branch["States"], branch["StartAt"], effective, execution, ctx
                )
                ended.put((number, made))
            except sfn._ExecutionError as error:
                ended.put((number, error))
            except Exception as error:  # noqa: BLE001 -- as MiniStack does: it fails the branch
                ended.put((number, sfn._ExecutionError("States.BranchFailed", str(error))))

        for number, branch in enumerate(state["Branches"]):
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(run, number, branch), daemon=True).start()
        _failed_beside.set(_failed_beside.get()[:-1])
        results = [None] * len(state["Branches"])
        for _ in state["Branches"]:
            number, made = ended.get()
            if isinstance(made, sfn._ExecutionError):
                failed.set()
                raise made
            results[number] = made
        result = sfn._apply_result_selector(state, results)
        output = sfn._apply_output_path(state, sfn._apply_result_path(state, data, result), ctx)
        return output, sfn._next_or_end(state)

    sfn._run_parallel_branches = run_branches


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
        if _machine.get() and not resource.startswith(_KNOWN):
            raise sfn._ExecutionError(
                "States.Runtime", f"local/mended_step_functions.py knows no rights for {resource}"
            )
        return invoke(resource, data)

    def call_allowed(function: str, event: Any) -> Any:
        arn = function
        if not arn.startswith("arn:"):
            arn = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{function}"
        require("lambda:InvokeFunction", arn, "Lambda.AWSLambdaException")
        return call(function, event)

    def read_allowed(reader: dict[str, Any], data: Any, ctx: dict[str, Any]) -> Any:
        asked = sfn._resolve_params_obj(reader["Parameters"], data, ctx)
        bucket = f"arn:aws:s3:::{asked['Bucket']}"
        if reader["Resource"].endswith(":s3:listObjectsV2"):
            require("s3:ListBucket", bucket, "States.ItemReaderFailed")
        else:
            require("s3:GetObject", f"{bucket}/{asked['Key']}", "States.ItemReaderFailed")
        return read_items(reader, data, ctx)

    def run_map_allowed(*call: Any) -> Any:
        # Its items are executions of the machine itself.
        require("states:StartExecution", _machine.get(), "StepFunctions.AccessDeniedException")
        return run_map(*call)

    sfn._run_execution, sfn._run_distributed_map = run_as_machine, run_map_allowed
    sfn._call_lambda, sfn._invoke_resource = call_allowed, invoke_known
    sfn._read_map_items = read_allowed


def require(action: str, resource: str, error: str, **keys: str) -> None:
    """Raises `error` unless the machine's role allows this.

    Arguments: `keys` are condition keys with `_` for `:`, such as `iam_passedtoservice`.
    """
    machine = sfn._state_machines.get(_machine.get())
    if machine is None:  # something else than an execution asks, such as TestState
        return
    account, role = get_account_id(), machine["roleArn"].rpartition("/")[2]
    principal = f"arn:aws:sts::{account}:assumed-role/{role}/states"
    context = iam_evaluator.EvalContext(
        principal,
        "AssumedRole",
        account,
        action,
        resource,
        get_region(),
        service_context={name.replace("_", ":"): value for name, value in keys.items()},
    )
    policies = iam_evaluator._gather_role_policies(role, account)
    if iam_evaluator.evaluate(context, policies).decision != "Allow":
        raise sfn._ExecutionError(
            error,
            f"User: {principal} is not authorized to perform: {action} on resource: {resource}",
        )
