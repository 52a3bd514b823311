"""The console's files: who gets them, how long they are kept, and what they may load."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lcp_backup.model import RunKind
from lcp_backup_api.console.joined import joined
from tests.support.api_client import Client

STATIC = Path(__file__).parents[3] / "functions" / "api" / "lcp_backup_api" / "console" / "static"
MODULES = {path.relative_to(STATIC).as_posix(): path.read_text() for path in STATIC.rglob("*.js")}
PAGE = "/console"
MOST = 150_000
"""Bytes that a browser has to fetch in all."""


def files(call: Client) -> list[str]:
    """The addresses that the page names."""
    body = call("GET", PAGE, by=None).body.decode()
    found = re.findall(r'(?:href|src)="([^"]+)"', body)
    assert len(found) == 3
    return [f"/{name}" for name in found]


def test_a_stranger_gets_the_page_and_its_files_small_enough_for_a_slow_line(call: Client) -> None:
    packed = {"accept-encoding": "gzip, deflate, br"}
    total = 0
    for path in [PAGE, *files(call)]:
        answer = call("GET", path, by=None, headers=packed)
        assert answer.status == 200
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert gzip.decompress(answer.body) == call("GET", path, by=None).body
        total += len(answer.body)
    assert total < MOST


def test_the_way_to_the_page_is_relative_for_the_api_may_lie_below_a_path(call: Client) -> None:
    for path, where in (("/", "console"), ("/console/", "../console")):
        answer = call("GET", path, by=None)
        assert (answer.status, answer.headers["location"]) == (302, where)
    assert not [name for name in files(call) if not name.startswith("/console/")]


def test_the_page_is_asked_for_each_time_and_its_files_never_again(call: Client) -> None:
    for path, kept in [
        (PAGE, "no-cache"),
        *((name, "public, max-age=31536000, immutable") for name in files(call)),
    ]:
        first = call("GET", path, by=None)
        assert first.headers["cache-control"] == kept
        tag = first.headers["etag"]
        for asked in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = call("GET", path, by=None, headers={"if-none-match": asked})
            assert (again.status, again.body) == (304, b"")
            assert (again.headers["etag"], again.headers["cache-control"]) == (tag, kept)
        assert call("GET", path, by=None, headers={"if-none-match": '"other"'}).status == 200


def test_the_page_loads_and_sends_nothing_elsewhere_but_parts_to_the_bucket(
    with_settings: Callable[..., Client],
) -> None:
    answer = with_settings(LCP_USER_POOL_DOMAIN="acme.auth.example.com")("GET", PAGE, by=None)
    policy = dict(
        line.split(" ", 1) for line in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    own, uploads, pool = policy["connect-src"].split()
    assert (own, pool) == ("'self'", "https://acme.auth.example.com/")
    assert re.fullmatch(r"https://\*\.s3(\.[a-z0-9-]+)?\.amazonaws\.com", uploads)
    assert "backups" not in uploads, "strangers are not told the bucket's name"
    body = answer.body.decode()
    assert not re.search(r"<script(?![^>]* src=)|<style|style=|\son\w+=", body)


@pytest.mark.parametrize(
    "path",
    [
        "/console/{version}/../joined.py",
        "/console/{version}/%2e%2e%2fjoined.py",
        "/console/{version}/..%2f..%2f..%2fapp.py",
        "/console/{version}/index.html",
        "/console/{version}/main.js",
        "/console/{version}//etc/passwd",
        "/console/../console",
        "/console/old/console.js",
        "/console/console.js",
    ],
)
def test_nothing_else_is_served(call: Client, path: str) -> None:
    version = files(call)[0].split("/")[2]
    answer = call("GET", path.format(version=version), by=None)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"


def test_what_only_begins_like_the_console_is_no_strangers_business(call: Client) -> None:
    for method, path in (("GET", "/consoles"), ("POST", PAGE), ("HEAD", PAGE), ("GET", "/backup")):
        assert call(method, path, by=None).status == 401


def test_the_modules_are_joined_in_the_order_in_which_they_need_each_other() -> None:
    script = joined(
        {
            "main.js": 'import { a, b } from "./views/a.js";\nconsole.log(a, b());\n',
            "views/a.js": 'import { c } from "../c.js";\nexport const a = c;\n'
            "export function b() {}\nconst c2 = 1;\n",
            "c.js": "export const c = 1;\nconst c2 = 2;\n",
            "unused.js": "export const nobody = 1;\n",
        },
        "main.js",
    )
    assert re.findall("^// (.*)$", script, re.MULTILINE) == [
        "c.js",
        "views/a.js",
        "main.js",
    ]
    assert "return { a, b };" in script
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('import a from "./c.js";\n', "is not joined: import a"),
        ("export default 1;\n", "is not joined: export default"),
        ('import { a } from "./d.js";\n', "d.js, which is not there"),
        ('import { a } from "./main.js";\n', "in a circle"),
    ],
)
def test_a_form_that_would_be_joined_wrongly_is_refused(source: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        joined({"main.js": source, "c.js": ""}, "main.js")


def test_every_text_is_in_the_one_file_and_used() -> None:
    texts = set(re.findall(r'^  "([^"]+)":', MODULES["texts.js"], re.MULTILINE))
    sources = "".join(source for name, source in MODULES.items() if name != "texts.js")
    literal = set(re.findall(r'"((?:[a-z]\w*\.)+[\w.-]+)"', sources))
    made = set(re.findall(r"`([a-zA-Z.]+\.)\$\{", sources)) | {"finding."}
    subjects = {key.split(".")[0] for key in texts}
    assert {key for key in literal if key.split(".")[0] in subjects} <= texts
    unused = {
        key
        for key in texts - literal
        if not any(key.startswith(prefix) for prefix in made) and not key.endswith(".one")
    }
    assert not unused


@pytest.mark.parametrize("kind", RunKind)
def test_every_kind_of_run_has_its_texts_and_can_be_chosen(kind: RunKind) -> None:
    for key in (f"kind.{kind}", f"run.after.{kind}", f"run.todo.{kind}"):
        assert f'"{key}": "' in MODULES["texts.js"]
    chosen = re.search(r"^const KINDS = \[(.*)\];$", MODULES["views/runs.js"], re.MULTILINE)
    assert chosen
    assert f'"{kind}"' in chosen[1]


def test_no_markup_is_made_of_text_and_no_module_is_too_long() -> None:
    for name, source in MODULES.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b", source
        ), name
        # (Texts are one file, whatever their number.)
        assert name == "texts.js" or source.count("\n") <= 400, name
