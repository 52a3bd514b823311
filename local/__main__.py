"""`python -m local <command>`: the commands behind the Makefile's targets of these names."""

import os
import sys

from local import demo, deploy_check
from local.stack import PROJECT, Stack, stop, variables_from

_STATE = PROJECT / ".local" / "up"
_DESCRIPTION = PROJECT / ".local" / "stack.json"


def _up() -> None:
    if _DESCRIPTION.exists():
        print("replacing the stack that is there, with all its backups", flush=True)
    stack = Stack.start(
        _STATE,
        database_url=os.environ.get("STACK_DATABASE_URL"),
        folder=os.environ.get("STACK_FOLDER"),
    )
    print("sam build", flush=True)
    stack.build()
    print("sam deploy", flush=True)
    stack.deploy(variables_from(os.environ))
    stack.add_users()
    stack.write_description(_DESCRIPTION)
    admin = stack.users["admin"]
    api = stack.describe()["api_url"]
    print(f"console: {api}/console")
    print(f"command line: PYTHONPATH=cli .venv/bin/python -m lcp_backup_cli login {api}")
    print(f"HTTP: curl -u {admin.name} {api}/backup/list")
    print(f"sign in as {admin.name} with {admin.password}")
    print(f"up; {_DESCRIPTION} says how to reach it, `make down` stops it")


def _down() -> None:
    stop(_STATE)
    _DESCRIPTION.unlink(missing_ok=True)
    print("down")


def _demo() -> None:
    state = demo.default_state()
    try:
        demo.run(state)
    finally:
        stop(state)


def _deploy_check() -> None:
    deploy_check.run(deploy_check.default_state(), os.environ)


def main() -> None:
    """Runs the command that the first argument names."""
    commands = {"up": _up, "down": _down, "demo": _demo, "deploy-check": _deploy_check}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:  # the program's name and one command
        raise SystemExit("usage: python -m local up|down|demo|deploy-check")
    commands[sys.argv[1]]()


if __name__ == "__main__":
    main()
