"""Who a caller is."""

import pytest

from tests.support.api_client import Client


@pytest.mark.parametrize(("name", "role"), [("ann", "admin"), ("bob", "viewer")])
def test_a_caller_is_told_who_they_are(call: Client, name: str, role: str) -> None:
    answer = call("GET", "/backup/whoami", by=name)
    assert (answer.status, answer.json()) == (200, {"name": name, "role": role, "by": "basic"})
