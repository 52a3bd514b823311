"""What the API answers to those who are not who they say, may not, or mean it ill."""

import itertools
import json
import secrets
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.api import Answer, curl
from local.stack import User
from tests.support.deployed import Deployed

BACKUP = "acme-dev-202611190000"
RUN = "20261119T000000-create-0123abcd"
PUBLIC_HEADERS = {"content-type", "content-length", "www-authenticate", "cache-control"}


_ADDRESSES = itertools.count(2)


def list_with(deployed: Deployed, token: str, header: str = "Authorization") -> Answer:
    # Each from another address: an address with many wrong tokens is answered 429.
    source = ("--interface", f"127.0.0.{next(_ADDRESSES) % 250 + 2}")
    credential = ("--header", f"{header}: Bearer {token}")
    return curl(f"{deployed.admin.url}/backup/list", *source, *credential)


def what_it_says(answer: Answer) -> tuple[int, dict[str, str], dict[str, Any]]:
    """An answer without what differs between any two: its time and the request's id."""
    headers = {name: value for name, value in answer.headers.items() if name in PUBLIC_HEADERS}
    return answer.status, headers, answer.json()


@pytest.fixture(scope="module")
def token(deployed: Deployed) -> str:
    """The viewer's access token, which holds."""
    answer = deployed.tokens(deployed.stack.users["viewer"])["AccessToken"]
    assert list_with(deployed, answer).status == 200
    return answer


@pytest.fixture(scope="module")
def unknown(deployed: Deployed) -> tuple[int, dict[str, str], dict[str, Any]]:
    """What somebody who does not exist is told."""
    stranger = User("nobody@example.com", "aA1-correct-horse")
    answer = deployed.as_user(stranger).call("GET", "/backup/list")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.headers["content-type"] == "application/problem+json"
    return what_it_says(answer)


def test_a_wrong_password_and_an_unknown_user_and_no_credential_are_told_the_same(
    deployed: Deployed, unknown: tuple[int, dict[str, str], dict[str, Any]]
) -> None:
    viewer = deployed.stack.users["viewer"]
    wrong = deployed.as_user(User(viewer.name, "aA1-wrong-horse")).call("GET", "/backup/list")
    assert what_it_says(wrong) == unknown
    assert what_it_says(curl(f"{deployed.admin.url}/backup/list")) == unknown


def test_an_unknown_user_and_a_wrong_master_token_may_not_even_ask_what_exists(
    deployed: Deployed, unknown: tuple[int, dict[str, str], dict[str, Any]]
) -> None:
    for path in (f"/backup/{BACKUP}", f"/backup/runs/{RUN}", f"/backup/download/volume/{BACKUP}"):
        answer = curl(f"{deployed.admin.url}{path}", "--header", "Authorization: Bearer 0123456789")
        assert answer.status == unknown[0]


def forgeries(deployed: Deployed, token: str) -> dict[str, str]:
    """Tokens that must not be taken, each wrong in one thing only."""
    header, payload, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    key_id = jwt.get_unverified_header(token)["kid"]
    other_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.PyJWKClient(
        f"{deployed.described['endpoint_url']}/{deployed.described['user_pool_id']}"
        "/.well-known/jwks.json"
    ).get_signing_key(key_id)
    public_pem = public.key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    admin = jwt.utils.base64url_encode(
        json.dumps({**claims, "cognito:groups": ["admins"]}).encode()
    ).decode()
    keys = deployed.stack.state / "cognito-pool-keys"
    real_key = (keys / f"{deployed.described['user_pool_id']}-access.pem").read_bytes()

    def signed(changes: dict[str, Any]) -> str:
        return jwt.encode({**claims, **changes}, real_key, "RS256", {"kid": key_id})

    # Signed like the wrong ones, so that what is wrong with them is not the signature.
    assert list_with(deployed, signed({})).status == 200
    past = int((datetime.now(UTC) - timedelta(minutes=2)).timestamp())
    hs256 = jwt.utils.base64url_encode(
        json.dumps({"alg": "HS256", "kid": key_id, "typ": "JWT"}).encode()
    ).decode()
    mac = jwt.get_algorithm_by_name("HS256").sign(f"{hs256}.{admin}".encode(), public_pem)
    return {
        "expired": signed({"exp": past, "iat": past - 3600}),
        "of another issuer": signed({"iss": f"{claims['iss']}x"}),
        "of another client": signed({"client_id": "another"}),
        "an id token": deployed.tokens(deployed.stack.users["viewer"])["IdToken"],
        "with other claims": f"{header}.{admin}.{signature}",
        "with another signature": f"{header}.{payload}.{signature[::-1]}",
        "signed by another key": jwt.encode(claims, other_key, "RS256", {"kid": key_id}),
        "signed by nobody": jwt.encode(claims, "", "none", {"kid": key_id}),
        "signed by the public key": f"{hs256}.{admin}.{jwt.utils.base64url_encode(mac).decode()}",
        "empty strings": "..",
    }


def test_forged_and_expired_tokens_are_told_what_an_unknown_user_is(
    deployed: Deployed, token: str, unknown: tuple[int, dict[str, str], dict[str, Any]]
) -> None:
    told = {
        f"{what} by {header}": what_it_says(list_with(deployed, forged, header))
        for what, forged in forgeries(deployed, token).items()
        for header in ("Authorization", "dxpcloud-authorization")
    }
    assert {what: answer for what, answer in told.items() if answer != unknown} == {}


def test_another_pools_token_is_refused(
    deployed: Deployed, unknown: tuple[int, dict[str, str], dict[str, Any]]
) -> None:
    cognito = deployed.stack.client("cognito-idp")
    pool_id = cognito.create_user_pool(PoolName="another")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool_id, ClientName="api", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]
    cognito.create_group(UserPoolId=pool_id, GroupName="admins")
    mallory = User("admin@example.com", "aA1-mallory-mallory")
    cognito.admin_create_user(UserPoolId=pool_id, Username=mallory.name, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(
        UserPoolId=pool_id, Username=mallory.name, Password=mallory.password, Permanent=True
    )
    cognito.admin_add_user_to_group(UserPoolId=pool_id, Username=mallory.name, GroupName="admins")
    tokens = deployed.tokens(mallory, client_id=client["ClientId"])
    assert what_it_says(list_with(deployed, tokens["AccessToken"])) == unknown


def test_a_viewer_may_look_and_change_nothing(deployed: Deployed, token: str) -> None:
    viewer = deployed.viewer
    assert viewer.call("GET", "/backup/list").status == 200
    assert viewer.call("GET", "/backup/runs").status == 200
    before = deployed.keys()
    upload = {"database": {"size": 1000}, "volume": {"size": 1000}}
    attempts = {
        "create": viewer.post("/backup/create"),
        "restore": viewer.post(f"/backup/restore/{BACKUP}"),
        "delete": viewer.call("DELETE", f"/backup/{BACKUP}"),
        "upload": viewer.post("/backup/upload", upload),
        "upload form": viewer.call("POST", "/backup/upload", "--form", "database=x"),
        "complete": viewer.post(f"/backup/upload/{RUN.replace('create', 'upload')}/complete"),
        "create by token": curl(
            "--request",
            "POST",
            f"{viewer.url}/backup/create",
            "--header",
            f"dxpcloud-authorization: Bearer {token}",
        ),
    }
    assert {what: answer.status for what, answer in attempts.items()} == dict.fromkeys(
        attempts, 403
    )
    assert all(
        answer.headers["content-type"] == "application/problem+json" for answer in attempts.values()
    )
    assert deployed.keys() == before


def test_a_user_of_the_pool_in_neither_group_may_not_even_look(deployed: Deployed) -> None:
    cognito = deployed.stack.client("cognito-idp")
    pool_id = deployed.described["user_pool_id"]
    eve = User("eve@example.com", "aA1-eve-eve-eve-eve")
    cognito.admin_create_user(UserPoolId=pool_id, Username=eve.name, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(
        UserPoolId=pool_id, Username=eve.name, Password=eve.password, Permanent=True
    )
    answers = [
        deployed.as_user(eve).call("GET", "/backup/list"),
        list_with(deployed, deployed.tokens(eve)["AccessToken"]),
    ]
    assert [answer.status for answer in answers] == [403, 403]
    assert all(answer.json()["type"].endswith(":not-a-member") for answer in answers)


def test_a_form_on_another_sites_page_restores_nothing(deployed: Deployed) -> None:
    before = deployed.keys()
    for sent in ("Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Origin: null"):
        answer = deployed.admin.call(
            "POST", "/backup/restore/latest", "--header", sent, "--data", ""
        )
        assert (answer.status, answer.json()["type"].split(":")[-1]) == (403, "from-another-site")
    assert deployed.keys() == before


TRAPS = {
    "dots": "../../lease.json",
    "encoded slashes": "..%2f..%2flease.json",
    "encoded dots": "%2e%2e%2f%2e%2e%2flease.json",
    "twice encoded": "..%252f..%252flease.json",
    "backslashes": "..%5c..%5clease.json",
    "an id and a way out": f"{BACKUP}%2f..%2f..%2f..%2flease",
    "a null": f"{BACKUP}%00.json",
    "a line break": f"{BACKUP}%0d%0aset-cookie:%20x=1",
    "no UTF-8": "%ff%fe",
    "a template": "%7b%7b7*7%7d%7d$(id)",
    "long": "a" * 6000,
}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/backup/"),
        ("DELETE", "/backup/"),
        ("GET", "/backup/runs/"),
        ("GET", "/backup/download/database/"),
        ("POST", "/backup/download/volume/"),
        ("POST", "/backup/restore/"),
    ],
)
def test_an_id_that_is_none_leads_nowhere(deployed: Deployed, method: str, path: str) -> None:
    before = deployed.keys()
    for what, trap in TRAPS.items():
        answer = deployed.admin.call(method, f"{path}{trap}", "--path-as-is")
        assert answer.status in {400, 404, 405}, (what, answer)
        assert answer.headers["content-type"] == "application/problem+json", (what, answer)
        assert "set-cookie" not in answer.headers
        assert b"expires_at" not in answer.body
    assert deployed.keys() == before


def test_headers_of_ten_megabytes_are_refused_and_the_api_stays_up(
    deployed: Deployed, tmp_path: Path
) -> None:
    for size, name in ((10_000_000, "x-anything"), (9_000, "Authorization")):
        header = tmp_path / name
        header.write_text(f"{name}: Bearer {'a' * size}\n")
        arguments = (f"{deployed.admin.url}/backup/list", "--header", f"@{header}")
        try:
            answer = curl(*arguments)
        except subprocess.CalledProcessError:
            continue  # the connection was closed on it, as a gateway does
        assert 400 <= answer.status < 500
    assert deployed.viewer.call("GET", "/backup/list").status == 200


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", '"text"', "{", "{}", '{"database": {"size": -1}}', "[" * 10_000, "\xff"],
)
def test_an_upload_that_asks_for_nonsense_is_told_so(
    deployed: Deployed, body: str, tmp_path: Path
) -> None:
    content = tmp_path / "body"
    content.write_bytes(body.encode("latin-1"))
    answer = deployed.admin.call(
        "POST",
        "/backup/upload",
        *("--header", "Content-Type: application/json", "--data-binary", f"@{content}"),
    )
    assert answer.status in {400, 413, 415, 422}
    assert answer.headers["content-type"] == "application/problem+json"


def test_nothing_secret_is_in_any_log(deployed: Deployed) -> None:
    stack = deployed.stack
    probe = f"aA1-{secrets.token_urlsafe(12)}"
    deployed.as_user(User("probe@example.com", probe)).call("GET", "/backup/list")
    logs = stack.client("logs")
    lines = [
        event["message"]
        for group in logs.describe_log_groups()["logGroups"]
        for page in logs.get_paginator("filter_log_events").paginate(
            logGroupName=group["logGroupName"]
        )
        for event in page["events"]
    ]
    text = "\n".join([*lines, (stack.state / "ministack.log").read_text(errors="replace")])
    kept = [probe, stack.token, stack.database.password]
    kept += [user.password for user in stack.users.values()]
    assert lines
    assert [n for n, secret in enumerate(kept) if secret in text] == []
