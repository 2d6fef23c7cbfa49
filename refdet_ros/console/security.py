"""Who may talk to the console, and how much.

One ASGI middleware stands before everything, the WebSocket included:

- the ``Host`` header must name this machine where no token is asked for, or any web page could
  reach the console through a name that it points at 127.0.0.1;
- ``Origin`` must be the console itself: no other page may use the operator's browser;
- a browser shows the token once in the URL and gets a cookie for it that no script can read;
- addresses that try many tokens have to wait.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict, deque
from typing import Any, Awaitable, Callable, Deque, MutableMapping, Optional
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from refdet_ros.console.options import ConsoleOptions, is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

COOKIE = "refdet_console"
_POLICY_VIOLATION = 1008
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_KEPT_ADDRESSES = 1000


class FailedLogins:
    """Counts wrong tokens by address."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._failures: OrderedDict[str, Deque[float]] = OrderedDict()

    def note(self, address: str) -> None:
        """A wrong token came from there."""
        self._failures.setdefault(address, deque(maxlen=self._per_minute)).append(time.monotonic())
        while len(self._failures) > _KEPT_ADDRESSES:
            self._failures.popitem(last=False)

    def too_many(self, address: str) -> bool:
        """Whether the address has to wait."""
        failures = self._failures.get(address)
        if failures is None:
            return False
        while failures and failures[0] < time.monotonic() - 60:
            failures.popleft()
        return len(failures) >= self._per_minute


class Gate:
    """The middleware.

    Args:
        app: what is behind it.
    """

    def __init__(self, app: Any, options: ConsoleOptions) -> None:
        self._app = app
        self._options = options
        self._failed = FailedLogins(options.limits.failed_logins_per_min)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Optional[Response]:
        """The response to a request that is refused; None if it is allowed."""
        request = HTTPConnection(scope)
        headers = request.headers
        host = headers.get("host", "")
        if self._options.token is None and self._options.is_local and not _names_this(host):
            return _no(403, f"The console answers to localhost, not to '{host[:80]}'.")
        strange = scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD")
        if strange and not _same_origin(headers, host):
            return _no(403, "This request comes from another page; open the console itself.")
        if self._options.token is None:
            return None
        address = scope["client"][0] if scope.get("client") else ""
        if self._failed.too_many(address):
            return _no(429, "Too many wrong tokens; try again in a minute.")
        if self._is_token(request.cookies.get(self._cookie(scope))):
            return None
        given = request.query_params.get("token")
        if scope["type"] == "http" and self._is_token(given):
            return self._welcome(scope)
        if given is not None or self._cookie(scope) in request.cookies:
            self._failed.note(address)
        return _no(
            401, "The console needs its token: open the address it printed when it was started."
        )

    def _welcome(self, scope: Scope) -> Response:
        """Move the token from the address into a cookie."""
        assert self._options.token is not None
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            self._cookie(scope),
            self._options.token,
            httponly=True,
            samesite="strict",
            secure=self._options.certificate is not None,
        )
        return response

    def _is_token(self, given: Optional[str]) -> bool:
        token = self._options.token
        return bool(given and token) and hmac.compare_digest(
            (given or "").encode(), (token or "").encode()
        )

    @staticmethod
    def _cookie(scope: Scope) -> str:
        """The cookie's name. The port is in it because cookies ignore ports."""
        server = scope.get("server") or ("", "")
        return f"{COOKIE}_{server[1]}"


def _no(status: int, sentence: str) -> Response:
    return PlainTextResponse(sentence + "\n", status_code=status)


def _names_this(host: str) -> bool:
    return is_loopback(urlsplit(f"//{host}").hostname or "") if host else False


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether the request was made by a page of this console; programs send no origin."""
    origin = headers.get("origin")
    if origin is None:
        return True
    return bool(host) and urlsplit(origin).netloc.lower() == host.lower()


def _with_headers(send: Send) -> Send:
    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            extra = [
                (name.lower().encode(), value.encode())
                for name, value in _HEADERS.items()
                if name.lower().encode() not in present
            ]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return wrapped


class RateLimit:
    """A bucket of tokens that fills at a rate and holds two seconds' worth."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tokens = 2 * per_s
        self._at_s = time.monotonic()

    def allows(self) -> bool:
        """Whether one more command is within the rate."""
        now_s = time.monotonic()
        self._tokens = min(2 * self._per_s, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
