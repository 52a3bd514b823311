"""ECS as AWS runs it, where MiniStack's differs; imported where MiniStack runs.

MiniStack wants a container engine, which there need not be here: a task is a process of this
machine. Its image, network and volumes are ignored, so what it runs has to be here too. As with
Step Functions, tests/integration/test_mended_emulator.py sees whether each mend still bites.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import unquote
from uuid import uuid4

from ministack.core import iam_actions, lambda_runtime
from ministack.core.responses import get_account_id, get_region
from ministack.services import ecs
from ministack.services import stepfunctions as sfn

from local.mended_step_functions import is_over, require

_POLL_SECONDS: Final = 0.2
_STOPPED: Final = 143
"""The exit code of a process that SIGTERM ended: 128 and the signal's number."""
_RUN_TASK: Final = "arn:aws:states:::ecs:runTask"
_REFUSED: Final = "ECS.AccessDeniedException"
_RULE: Final = "StepFunctionsGetEventsForECSTaskRule"


def mend() -> None:
    """Mends all; call it once, after mended_step_functions.mend() and before MiniStack starts."""
    run_tasks_as_processes()
    give_tasks_their_role()
    say_that_a_task_was_stopped()
    wait_for_tasks()
    enforce_roles()
    name_layers()


class _Process:
    """A task's container, with as much of docker's interface as MiniStack uses."""

    def __init__(self, _image: str, **run: Any) -> None:
        self.id = uuid4().hex
        self.labels = run["labels"]
        self.attrs: dict[str, Any] = {"NetworkSettings": {"Networks": {}, "Ports": {}}}
        self._output = Path(tempfile.gettempdir(), f"task-{self.id}.log")
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": tempfile.gettempdir(),
            **run["environment"],
            "TMPDIR": tempfile.gettempdir(),
        }
        # In MiniStack's own session, with which it ends.
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                run["command"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        _running[self.id] = self

    @property
    def status(self) -> str:
        return "running" if self._process.poll() is None else "exited"

    def reload(self) -> None:
        """The status is always that of now."""

    def wait(self) -> dict[str, int]:
        code = self._process.wait()
        return {"StatusCode": code if code >= 0 else 128 - code}

    def stop(self, timeout: float) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def remove(self, **_: bool) -> None:
        _running.pop(self.id, None)

    def logs(self, *, stream: bool = False, **_: Any) -> bytes | Iterator[bytes]:
        return self._lines() if stream else self._output.read_bytes()

    def _lines(self) -> Iterator[bytes]:
        with self._output.open("rb") as output:
            while True:
                is_over = self.status == "exited"
                yield from output
                if is_over:
                    return
                time.sleep(_POLL_SECONDS)


_running: Final[dict[str, _Process]] = {}


def run_tasks_as_processes() -> None:
    """A task is a process, and its entry point counts; MiniStack wants docker and ignores it."""
    build = ecs._build_run_kwargs

    def build_with_entry_point(definition: dict[str, Any], *more: Any) -> dict[str, Any]:
        made: dict[str, Any] = build(definition, *more)
        command = [*definition.get("entryPoint", ()), *definition.get("command", ())]
        # (With a platform it would look for a binary of another processor, and find ours.)
        made.pop("platform", None)
        return {**made, "command": command}

    containers = SimpleNamespace(
        run=_Process, get=_running.__getitem__, list=lambda **_: list(_running.values())
    )
    images = SimpleNamespace(get=lambda *_: None)
    engine = SimpleNamespace(containers=containers, images=images, ping=lambda: True)
    ecs._build_run_kwargs = build_with_entry_point
    ecs._get_docker = lambda: engine


def give_tasks_their_role() -> None:
    """A task's credentials are those of its role; MiniStack's own are none that its IAM knows."""
    register = ecs._register_metadata

    def register_with_role(
        task: str, cluster: str, definition: dict[str, Any], container: Any, *more: Any
    ) -> Any:
        token = register(task, cluster, definition, container, *more)
        environment: dict[str, str] = more[1]
        for name in ("FULL_URI", "AUTHORIZATION_TOKEN"):
            environment.pop(f"AWS_CONTAINER_CREDENTIALS_{name}", None)
            environment.pop(f"AWS_CONTAINER_{name}", None)
        role = definition.get("taskRoleArn")
        if role:
            # (It gives credentials to functions alone.)
            name = task.rpartition("/")[2]
            arn = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{name}"
            known = {"FunctionArn": arn, "Role": role, "FunctionName": name}
            environment.update(lambda_runtime.execution_credentials(known))
        region = get_region()
        environment.update(AWS_REGION=region, AWS_DEFAULT_REGION=region)
        # (It names the host that a container of docker's would see.)
        environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}"
        return token

    ecs._register_metadata = register_with_role


def say_that_a_task_was_stopped() -> None:
    """A task that is stopped ends with the code of the signal; MiniStack says 0, as of success."""
    mark = ecs._mark_task_stopped

    def mark_stopped(
        arn: str, task: Any, reason: str, stop_code: str, exit_code: int | None = None
    ) -> Any:
        code = _STOPPED if stop_code == "UserInitiated" else exit_code
        return mark(arn, task, reason, stop_code, exit_code=code)

    ecs._mark_task_stopped = mark_stopped


def wait_for_tasks() -> None:
    """`.sync` waits as long as it takes, fails with the task, and stops it with its execution.

    MiniStack gives up after ten minutes, takes every end for a success and stops nothing.
    """

    def poll(cluster: str, arns: list[str]) -> Any:
        is_stopping = False
        while True:
            time.sleep(_POLL_SECONDS)
            _, _, body = ecs._describe_tasks({"cluster": cluster, "tasks": arns})
            tasks = json.loads(body)["tasks"]
            if all(task["lastStatus"] == "STOPPED" for task in tasks):
                break
            if is_over() and not is_stopping:
                is_stopping = True
                require("ecs:StopTask", arns[0], _REFUSED)
                for arn in arns:
                    ecs._stop_task({"cluster": cluster, "task": arn, "reason": "the end"})
        (task,) = [_capitalised(task) for task in tasks]
        if any(it.get("ExitCode") != 0 for it in task["Containers"]):
            raise sfn._ExecutionError("States.TaskFailed", json.dumps(task))
        return task

    sfn._poll_ecs_tasks = poll


def _capitalised(value: Any) -> Any:
    """As Step Functions spells what ECS answers."""
    match value:
        case dict():
            return {f"{name[:1].upper()}{name[1:]}": _capitalised(it) for name, it in value.items()}
        case list():
            return [_capitalised(it) for it in value]
    return value


def enforce_roles() -> None:
    """What a machine asks of ECS, its role must allow; MiniStack asks no role."""
    run_task: Callable[..., Any] = sfn._SERVICE_DISPATCH[_RUN_TASK]

    def run_allowed(resource: str, asked: dict[str, Any]) -> Any:
        found = asked["TaskDefinition"]
        require("ecs:RunTask", found, _REFUSED)
        definition = ecs._task_defs.get(ecs._resolve_td_key(found)) or {}
        for role in ("executionRoleArn", "taskRoleArn"):
            if arn := definition.get(role):
                service = {"iam_passedtoservice": "ecs-tasks.amazonaws.com"}
                require("iam:PassRole", arn, _REFUSED, **service)
        if resource.endswith(".sync"):
            place = f"{get_region()}:{get_account_id()}"
            for action in ("PutTargets", "PutRule", "DescribeRule"):
                rule = f"arn:aws:events:{place}:rule/{_RULE}"
                require(f"events:{action}", rule, "States.Runtime")
            cluster = asked["Cluster"].rpartition("/")[2]
            require("ecs:DescribeTasks", f"arn:aws:ecs:{place}:task/{cluster}/*", _REFUSED)
        return run_task(resource, asked)

    sfn._SERVICE_DISPATCH[_RUN_TASK] = run_allowed


def name_layers() -> None:
    """To get a layer by its ARN is a right of its own; MiniStack takes it for ListLayers on `*`."""
    action_of, resource_of = iam_actions.extract_iam_action, iam_actions.extract_resource_arn

    def asked(service: str, path: str, query: dict[str, Any]) -> str | None:
        if service != "lambda" or not path.rstrip("/").endswith("/layers"):
            return None
        found = query.get("Arn")
        return unquote(found[0] if isinstance(found, list) else found) if found else None

    def action(service: str, *request: Any) -> Any:
        _method, path, _headers, _body, query = request
        if asked(service, path, query):
            return "lambda:GetLayerVersion"
        return action_of(service, *request)

    def resource(service: str, *request: Any) -> Any:
        _method, path, _headers, _body, query, *_place = request
        return asked(service, path, query) or resource_of(service, *request)

    iam_actions.extract_iam_action = action
    iam_actions.extract_resource_arn = resource
