"""MiniStack, an AWS emulator without Docker, on the loopback address and with IAM enforced."""

import os
import time
import urllib.request
from pathlib import Path
from typing import Final
from urllib.error import URLError

from local import processes

NAME = "ministack"
ALLOWED = "allowed.jsonl"
"""The file below a stack's state with what IAM allowed; see recording_ministack.py."""
_ENVIRONMENT: Final = Path(__file__).resolve().parent.parent / ".local" / "emulator-env"
"""The emulator's own Python, in which it runs the functions too (local/setup.sh makes it)."""
REGION: Final = "eu-central-1"
CREDENTIALS = {"access_key_id": "test", "secret_access_key": "test"}


def start(state: Path) -> str:
    """Starts the emulator, its objects below `state`; answers its endpoint URL."""
    port = processes.free_port()
    objects = state / "objects"
    temporary = state / "tmp"
    for folder in (objects, temporary):
        folder.mkdir(parents=True, exist_ok=True)
    # Settings of the caller's own AWS account must not leak into the functions' processes.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "LCP_", "STACK_"))
    }
    processes.start(
        NAME,
        [
            str(_ENVIRONMENT / "bin" / "python"),
            str(Path(__file__).with_name("recording_ministack.py")),
            str(state / ALLOWED),
        ],
        state,
        env={
            **inherited,
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            # It starts an SFTP server on all addresses, and an MQTT one, unless told not to.
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "AUTH": "true",
            "MINISTACK_REGION": REGION,
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(objects),
            # Its key for the user pool's tokens; in /tmp, for all to share, unless told not to.
            "STATE_DIR": str(state),
            # The functions' unpacked code, which it leaves behind when it is killed.
            "TMPDIR": str(temporary),
        },
    )
    endpoint = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2):  # noqa: S310 -- a loopback address made above
                return endpoint
        except (URLError, ConnectionError):
            if not processes.is_running(NAME, state):
                break
            time.sleep(0.1)
    raise SystemExit(f"MiniStack did not start; see {state / 'ministack.log'}")


def stop(state: Path) -> None:
    """Stops the emulator and the functions it runs."""
    processes.stop(NAME, state)
