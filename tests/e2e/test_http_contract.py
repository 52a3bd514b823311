"""The running API against its committed description: schemathesis calls all of it."""

import os
import subprocess
import sys
from pathlib import Path

from local.stack import PROJECT
from tests.support.deployed import Deployed

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


def test_every_answer_is_one_that_the_description_knows(deployed: Deployed, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text('headers = { Authorization = "Bearer ${MASTER_TOKEN}" }\n')
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "schemathesis", "--config-file", config),
            *("run", PROJECT / "docs" / "openapi.json", "--url", deployed.admin.url),
            # What it makes up are wrong logins, and 20 of them keep everybody of its address out
            # for a minute: test_sign_in.py.
            *("--exclude-path-regex", "^/backup/login"),
            *("--checks", ",".join(_CHECKS), "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", "3", "--generation-deterministic", "--no-shrink"),
            *("--continue-on-failure", "--workers", "2"),
            *("--request-timeout", "30", "--suppress-health-check", "all", "--warnings", "off"),
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "MASTER_TOKEN": deployed.stack.token, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert deployed.admin.call("DELETE", "/backup/restore/pause").status == 204
    # What was started meanwhile must not meet the next test.
    deployed.admin.wait_for_all()
