"""The one web page that may call from a browser, and what a browser asks before it does.

API Gateway hands a preflight on to the `$default` route, and puts the headers of the template's
CorsConfiguration in the place of these. Without it (`sam local`, an emulator) these are all there
is, so both say the same.
Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
"""

from http import HTTPStatus
from typing import Final

from fastapi import Request, Response

ALLOWED_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
ALLOWED_HEADERS: Final = ("authorization", "dxpcloud-authorization", "content-type", "accept")
EXPOSED_HEADERS: Final = (
    "content-disposition",
    "location",
    "retry-after",
    "www-authenticate",
    # What API Gateway makes of the one before.
    "x-amzn-remapped-www-authenticate",
)
MAX_AGE: Final = 600
"""Seconds for which a browser does not ask again."""


def is_from_page(request: Request, browser_origin: str | None) -> bool:
    """Whether the page that the settings name sent this; never, when they name none."""
    return browser_origin is not None and request.headers.getlist("origin") == [browser_origin]


def preflight(request: Request, browser_origin: str | None) -> Response | None:
    """The answer to a browser that asks on that page's behalf what it may send, or None.

    It is the same for every path, whether there is something or not, and needs no credential:
    browsers send none along.
    """
    asks = request.method == "OPTIONS" and "access-control-request-method" in request.headers
    if not asks or not is_from_page(request, browser_origin):
        return None
    headers = {
        "Access-Control-Allow-Methods": ", ".join(ALLOWED_METHODS),
        "Access-Control-Allow-Headers": ", ".join(ALLOWED_HEADERS),
        "Access-Control-Max-Age": str(MAX_AGE),
    }
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


def let_page_read(answer: Response, browser_origin: str) -> None:
    """Lets that page, and no other, read an answer to it."""
    answer.headers["Access-Control-Allow-Origin"] = browser_origin
    answer.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
    answer.headers["Vary"] = "Origin"
