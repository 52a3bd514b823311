"""An HTTP API of API Gateway before the deployed function, with what the emulator's does not do.

It makes events of format 2.0 and invokes the function over Lambda's API; what it does to them is
what AWS documents:

- 10 MB of a request's body, and 6 MB of an event or an answer as Lambda takes it, in base64 where
  it is no text. Beyond, the caller gets an answer of the gateway's own, which is no problem+json.
  https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
  https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
- `WWW-Authenticate` is renamed. https://docs.aws.amazon.com/apigateway/latest/developerguide/
  api-gateway-known-issues.html
- OPTIONS reaches the function by `$default`.
- Names of headers are in lower case, values of one name are joined by commas, and those of hops
  (Transfer-Encoding, Connection) do not get through.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

BODY_LIMIT = 10 * 1024 * 1024
PAYLOAD_LIMIT = 6 * 1024 * 1024
_TEXT = ("text/", "application/json", "application/javascript", "application/xml")
_OF_HOPS = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect"}
_RENAMED = {"www-authenticate": "x-amzn-remapped-www-authenticate"}

type Invoke = Callable[[bytes], dict[str, Any]]


@contextmanager
def gateway(invoke: Invoke) -> Iterator[str]:
    """Runs one before a function; answers its URL.

    `invoke` gives the function an event's bytes, and answers what it returned; it raises when the
    function did.
    """

    class Handler(_Handler):
        function = staticmethod(invoke)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    function: Invoke

    def _answer(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(size)
        if size > BODY_LIMIT:
            self._of_its_own(413, "Request Entity Too Large")
            return
        event = json.dumps(self._event(body)).encode()
        if len(event) > PAYLOAD_LIMIT:
            self._of_its_own(413, "Request Entity Too Large")
            return
        try:
            answer = self.function(event)
        except Exception:  # noqa: BLE001 -- whatever it was, the gateway says the same
            self._of_its_own(500, "Internal Server Error")
            return
        if len(json.dumps(answer)) > PAYLOAD_LIMIT:
            self._of_its_own(500, "Internal Server Error")
            return
        text = answer.get("body") or ""
        content = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
        headers = {name.lower(): value for name, value in answer.get("headers", {}).items()}
        self._send(answer["statusCode"], headers, content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _answer  # noqa: N815 -- the base class's names

    def _event(self, body: bytes) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            lower = name.lower()
            if lower not in _OF_HOPS:
                headers[lower] = f"{headers[lower]},{value}" if lower in headers else value
        is_text = headers.get("content-type", "text/plain").startswith(_TEXT)
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": unquote(path),
            "rawQueryString": query,
            "headers": headers,
            "requestContext": {
                "apiId": "gateway",
                "domainName": headers.get("host", ""),
                "http": {
                    "method": self.command,
                    "path": unquote(path),
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.7",
                    "userAgent": headers.get("user-agent", ""),
                },
                "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": "$default",
                "stage": "$default",
                "timeEpoch": 1795651200000,
            },
            "isBase64Encoded": bool(body) and not is_text,
        }
        if body:
            event["body"] = body.decode() if is_text else base64.b64encode(body).decode()
        return event

    def _of_its_own(self, status: int, message: str) -> None:
        content = json.dumps({"message": message}).encode()
        self._send(status, {"content-type": "application/json"}, content)

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name not in _OF_HOPS | {"content-length"}:
                self.send_header(_RENAMED.get(name, name), value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Says nothing: a test's output is no access log."""
