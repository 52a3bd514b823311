"""The one page that may call from a browser: asked for, let in, and nobody else told of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load

from lcp_backup_api import cors
from tests.support.api_calls import ELSEWHERE, ROUTES
from tests.support.api_client import Client

TEMPLATE = Path(__file__).parents[3] / "template.yaml"
PAGE = "https://console.example.com"
ASKS = {"origin": PAGE, "access-control-request-method": "DELETE"}
PATHS = sorted({*(path for _, path in ROUTES), *ELSEWHERE, "/backup/health"})


@pytest.fixture
def for_page(with_settings: Callable[..., Client]) -> Client:
    return with_settings(LCP_BROWSER_ORIGIN=PAGE)


def test_a_browser_that_asks_for_the_page_is_told_the_same_everywhere_and_needs_no_credential(
    for_page: Client,
) -> None:
    asked = {**ASKS, "access-control-request-headers": "authorization,content-type"}
    told = {
        (answer.status, answer.body, str(sorted(answer.headers.items())))
        for path in PATHS
        for by in (None, "mallory", "ann")
        for answer in [for_page("OPTIONS", path, by=by, headers=asked)]
    }
    assert len(told) == 1
    answer = for_page("OPTIONS", "/backup/list", by=None, headers=asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": f"{PAGE}.evil.example"},
        {"origin": f"{PAGE}, https://evil.example"},
        {"origin": f"{PAGE}/"},
        {"origin": "http://console.example.com"},
    ],
    ids=str,
)
def test_nobody_else_is_told_anything(for_page: Client, sent: dict[str, str]) -> None:
    asks = {"access-control-request-method": "GET", **sent}
    for path in PATHS:
        for method, by, status in (
            ("OPTIONS", None, 401),
            ("GET", None, 200 if path == "/backup/health" else 401),
        ):
            answer = for_page(method, path, by=by, headers=asks)
            assert answer.status == status
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert PAGE not in str(answer)
    assert for_page("OPTIONS", "/backup/list", by="ann", headers=asks).status == 405


def test_where_no_page_is_named_none_is_let_in(call: Client) -> None:
    for origin in (PAGE, "null", "", "None"):
        answer = call("OPTIONS", "/backup/list", by=None, headers={**ASKS, "origin": origin})
        assert answer.status == 401
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_page_reads_answers_and_errors_but_is_told_no_more_than_others(
    for_page: Client,
) -> None:
    for by, status in (("ann", 200), (None, 401)):
        answer = for_page("GET", "/backup/list", by=by, headers={"origin": PAGE})
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "x-amzn-remapped-www-authenticate" in answer.headers["access-control-expose-headers"]


def test_a_plain_options_of_the_page_is_no_question_of_a_browsers(for_page: Client) -> None:
    answer = for_page("OPTIONS", "/backup/list", by=None, headers={"origin": PAGE})
    assert answer.status == 401


def test_gateway_and_function_say_the_same() -> None:
    template: dict[str, Any] = load(str(TEMPLATE))
    condition, told, _ = template["Resources"]["Api"]["Properties"]["CorsConfiguration"]["Fn::If"]
    assert condition == "HasBrowserOrigin"
    assert told == {
        "AllowOrigins": [{"Ref": "BrowserOrigin"}],
        "AllowMethods": list(cors.ALLOWED_METHODS),
        "AllowHeaders": list(cors.ALLOWED_HEADERS),
        "ExposeHeaders": list(cors.EXPOSED_HEADERS),
        "MaxAge": cors.MAX_AGE,
    }


def test_the_bucket_lets_the_apis_own_pages_send_parts_and_read_their_tags() -> None:
    template: dict[str, Any] = load(str(TEMPLATE))
    bucket = template["Resources"]["Bucket"]["Properties"]
    [rule] = bucket["CorsConfiguration"]["CorsRules"]
    own, of_domain, of_page = rule["AllowedOrigins"]
    assert own == {"Fn::GetAtt": ["Api", "ApiEndpoint"]}
    assert of_domain["Fn::If"][:2] == ["HasDomain", {"Fn::Sub": "https://${DomainName}"}]
    assert of_page["Fn::If"][:2] == ["HasBrowserOrigin", {"Ref": "BrowserOrigin"}]
    assert rule["AllowedMethods"] == ["GET", "PUT"]
    assert rule["ExposedHeaders"] == ["ETag"]
