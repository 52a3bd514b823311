"""Whatever is sent, and wherever: it is the sender's error, told as a problem of a known type."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lcp_backup.catalog import Catalog
from lcp_backup_api.application import without_backend
from lcp_backup_api.backend import Backend
from local.api import Answer
from tests.support.api_client import Client
from tests.support.backups import publish
from tests.support.clock import SettableClock
from tests.support.door import PASSWORD, Door, basic, by_hand, token

# Starlette leaves the file of a form that breaks off to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Unclosed file <tempfile.SpooledTemporaryFile:ResourceWarning"
)

ID = "acme-prd-202611230015"
RUN = "20261123T001500-upload-0a1b2c3d"
CALLS = sorted(
    (method.upper(), path)
    for path, methods in without_backend().openapi()["paths"].items()
    for method in methods
)
RAW = re.compile(
    "Input should|String should|List should|Field required|Extra inputs|JSON decode|unable to"
    "|the event|^Not Found|^Method Not"
)
JSON = "application/json"
FORM = "multipart/form-data; boundary=b"

BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"0",
    b'"\xff"',
    b"\x00" * 100,
    b"\xff\xfe\x00",
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b'{"size":' + b"9" * 5000 + b"}",
    b'{"\\ud800": 1}',
    b'{"only": "\\ud800"}',
    b'{"tables": ["\\ud800"], "reason": "\\udfff"}',
    b'{"tables": ["\\u0000"], "paths": ["../..", "/"]}',
    b'{"keep_previous": NaN, "only": Infinity, "reason": 1e999}',
    b'{"into_folder": "\\u0000", "into_database": "\\n"}',
    b'{"database": {"size": 1e400}, "volume": {"size": -1}}',
    b'{"database": {"size": true}, "volume": {"size": "1"}}',
    b'{"database": {"size": ' + b"9" * 4000 + b'}, "volume": {"size": 1}}',
    b'{"database": {"size": 1, "sha256": "\\ud800"}, "volume": {"size": 1}}',
    b'{"database": {"\\ud800": 1}, "volume": {}}',
    b"--b",
    b"--b\r\n\r\n\r\n--b--",
    b"--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="database"\r\n\r\nx\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="database"; filename="\xff\x00"\r\n\r\nx',
    b"--b\r\nContent-Disposition: form-data; name*=x'y'%ff; filename*=z''%00\r\n\r\nx\r\n--b--",
    b"--b\r\nContent-Disposition: form-data; filename=x\r\n\r\nx\r\n--b--\r\n",
    b"--b\r\nContent-Disposition\r\n\r\nx\r\n--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' * 10 + b"--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"y" * 1_100_000,
]
BODIES_OF_A_FORM = [
    b"",
    b"{}",
    b'--b\r\nContent-Disposition: form-data; name="\xe4"\r\n\r\nx\r\n--b--\r\n',
]
CONTENT_TYPES = [
    JSON,
    FORM,
    "multipart/form-data",
    "multipart/form-data;",
    "multipart/form-data; boundary",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary="',
    f"multipart/form-data; boundary={'b' * 5000}",
    "multipart/form-data; boundary=ü",
    "multipart/form-data; boundary=b; charset=undefined",
    "multipart/form-data; boundary=b; charset=idna",
    "multipart/form-data; boundary=b; charset=hex",
    "multipart/form-data; boundary=b; charset=utf-16",
    "multipart/form-data; boundary*=x'y'%ff",
    "multipart/mixed; boundary=b",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-16",
    "application/problem+json",
    "text/plain",
    "/",
    ";",
    "",
]
HEADERS = [
    {"content-length": "9" * 5000, "content-type": FORM},
    {"content-length": "²", "content-type": FORM},
    {"content-length": "-1", "content-type": FORM},
    {"content-length": "x", "content-type": JSON},
    {"accept": "\x7f;q=9, application/json;;"},
    {"host": "["},
    {"host": ""},
    {"host": "a b/?#@"},
    {"user-agent": "ü" * 3000},
    {"origin": "\U0001f4a9", "access-control-request-method": "GET"},
    {"transfer-encoding": "chunked", "expect": "100-continue", "range": "bytes=9-1"},
    {"cookie": "=;=;", "x-forwarded-proto": "\\", "x-forwarded-for": "x"},
    {"x-http-method-override": "TRACE", "content-encoding": "gzip"},
]
QUERIES = [
    "limit=0&expires=0&state=&kind=&status=",
    "limit=x&expires=x&state=x&kind=x&status=x&next=x",
    f"limit={'9' * 5000}&expires={'9' * 5000}",
    "limit=1e3&expires=NaN&next=%ff",
    "limit=%D9%A1&expires=%EF%BC%91",
    "next=%00&kind=%00&state=%00&status=%00",
    f"next={'x' * 9000}",
    "next=" + quote("acme-prd-20261123001\u0665"),
    "next=" + quote("20261123T00150\u0660-create-0a1b2c3d"),
    "next=99999999T999999-create-00000000",
    "next=a-b-000101010000",
    "limit=1&limit=&limit=x",
    "&&&=&=%&%zz",
    "a[b]=" + "%5B" * 500,
]
COMPONENTS = [
    ".",
    "..",
    "../../lease.json",
    "\x00",
    "\n",
    " ",
    "%",
    "%ff",
    "ü\U0001f4a9",
    "latest",
    "{}",
    "x" * 9000,
    f"{ID}\n",
    "acme-prd-20261123001\u0665",
    "acme-prd-000001010000",
    "a-b-000101010000",
    "20261123T00150\u0660-create-0a1b2c3d",
    "99999999T999999-upload-00000000",
    "20261123T001500-upload-00000000/complete",
]
CREDENTIALS = [
    "",
    "Basic",
    "Basic ",
    "Basic =",
    "Basic \U0001f4a9",
    "Basic " + base64.b64encode(b"\xff\x00:\xff").decode(),
    "Basic " + base64.b64encode(b"no colon").decode(),
    "Basic " + "A" * 9000,
    basic("", ""),
    basic("busy", PASSWORD),
    "Bearer",
    "Bearer ",
    "Bearer ..",
    "Bearer " + "." * 9000,
    "Bearer " + "e30." * 2500,
    f"Bearer {token()[:-5]}",
    f"Bearer {by_hand(json.dumps({'alg': 'RS256', 'kid': ['x']}).encode(), {})}",
    f"Bearer {by_hand(b'[]', {})}",
    f"Bearer {by_hand(b'null', {})}",
    f"Bearer {by_hand(b'[' * 3000, {})}",
    f"Bearer {by_hand(json.dumps({'alg': {}, 'kid': 1e999}).encode(), {})}",
    "Digest x",
    "Bearer x, Basic y",
]
FIELDS = [
    *("only", "tables", "paths", "into_database", "into_folder", "keep_previous"),
    "scripts",
    *("database", "volume", "size", "sha256", "reason"),
]
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
"""(What API Gateway sends is JSON in UTF-8: no half of a surrogate pair.)"""


@pytest.fixture
def call(backend: Backend, catalog: Catalog, clock: SettableClock) -> Client:
    """As `ann`, with one backup; forms are not waited for."""
    publish(catalog, clock())
    return Client(replace(backend, longest_wait=timedelta(0)))


def told(answer: Answer) -> Answer:
    """An answer that is a success, or the sender's error by a name of its own."""
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json", answer
        assert answer.json()["status"] == answer.status
        assert answer.json()["type"] != "urn:lcp-backup:problem:unexpected", answer
        # What pydantic and Starlette say of it means nothing to who sent it.
        assert not RAW.search(answer.json()["detail"]), answer
    return answer


def filled(path: str, component: str = "") -> str:
    """A route's path, with what there may be or with garbage in the place of its parameters."""
    usual = {"kind": "volume", "backup_id": ID, "run_id": RUN, "upload_id": RUN}
    for name, value in usual.items():
        path = path.replace(f"{{{name}}}", quote(component or value, safe=""))
    return path


def taking_a_body() -> Iterator[tuple[str, str]]:
    return ((method, filled(path)) for method, path in CALLS if method in {"POST", "PUT"})


def test_garbage_in_a_body(call: Client) -> None:
    for content_type in CONTENT_TYPES:
        for method, path in taking_a_body():
            for body in BODIES if content_type in {JSON, FORM} else BODIES_OF_A_FORM:
                told(call(method, path, body=body, headers={"content-type": content_type}))


def test_garbage_in_headers(call: Client) -> None:
    for headers in HEADERS:
        for method, path in CALLS:
            told(call(method, filled(path), headers=headers))
        told(call("POST", "/backup/upload", headers=headers, by=None))


def test_garbage_in_queries(call: Client) -> None:
    for query in QUERIES:
        for method, path in CALLS:
            told(call(method, f"{filled(path)}?{query}"))


def test_garbage_in_paths(call: Client) -> None:
    for component in COMPONENTS:
        for method, path in CALLS:
            if "{" in path:
                told(call(method, filled(path, component)))


@pytest.mark.parametrize("header", ["authorization", "dxpcloud-authorization"])
def test_garbage_in_credentials(backend: Backend, clock: SettableClock, header: str) -> None:
    door = Door(clock)
    client = Client(replace(backend, users=door.users))
    for number, credential in enumerate(CREDENTIALS):
        clock.pass_by(timedelta(minutes=2))  # or most would be answered 429
        answer = told(client("GET", "/backup/list", by=None, headers={header: credential}))
        assert answer.status in {401, 429}, number


def test_any_method_anywhere(call: Client) -> None:
    paths = {filled(path) for _, path in CALLS} | {"", "/", "//", "/backup", "/backup/a/b/c/d"}
    for method in ("HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"):
        for path in paths:
            answer = told(call(method, path))
            if answer.status == 405:
                assert answer.headers["allow"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    which=st.sampled_from(CALLS),
    component=text,
    query=text,
    content_type=st.sampled_from([JSON, FORM]) | text,
    body=st.binary(max_size=200) | st.sampled_from(BODIES[:20]),
    accept=text,
)
def test_garbage_everywhere(
    call: Client,
    which: tuple[str, str],
    component: str,
    query: str,
    content_type: str,
    body: bytes,
    accept: str,
) -> None:
    method, path = which
    headers = {"content-type": content_type, "accept": accept, "origin": accept}
    told(call(method, f"{filled(path)}?{query}", body=body, headers=headers))
    told(call(method, filled(path, component), body=body, headers=headers))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    sent=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda below: (
            st.lists(below, max_size=4)
            | st.dictionaries(
                st.sampled_from(FIELDS) | st.text(max_size=5),
                below,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_documents_of_any_shape(call: Client, sent: object) -> None:
    body = json.dumps(sent).encode()
    for method, path in taking_a_body():
        told(call(method, path, body=body, headers={"content-type": JSON}))


def shapes() -> st.SearchStrategy[bytes]:
    """Forms that are nearly ones: their lines in any order, some broken off or made up."""
    lines = st.sampled_from(
        [
            b"--b",
            b"--b--",
            b"",
            b'Content-Disposition: form-data; name="database"; filename="a"',
            b"Content-Disposition: form-data; name=\"volume\"; filename*=utf-8''%e4%",
            b"Content-Disposition: form-data; name=volume",
            b"Content-Disposition:",
            b"Content-Type: text/plain; charset=x",
        ]
    ) | st.binary(max_size=20)
    return st.lists(lines, max_size=14).map(b"\r\n".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(body=shapes())
def test_forms_of_any_shape(call: Client, body: bytes) -> None:
    told(call("POST", "/backup/upload", body=body, headers={"content-type": FORM}))
