"""Stands before every request: is it for this server, from this server's own page or a program, from somebody allowed, and not too often?

A page of another site that is open in the same browser can send requests here, also to 127.0.0.1. `Host` and `Origin` tell such requests apart:
the first from names that were made to point here (DNS rebinding), the second from forms and scripts of other sites.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from multigrain.web.connection import is_crowded, is_let_in, let_in
from multigrain.web.faults import refusal_of, sentence_of
from multigrain.web.proxies import client_address
from multigrain.web.rates import RateLimit
from multigrain.web.refusal import Refusal, crowded, too_many
from multigrain.web.sessions import Sessions
from multigrain.web.settings import Settings

logger = logging.getLogger(__name__)

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/login", "/session", "/static/page.css", "/static/icon.svg", "/health"})
"""What is answered without a token."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Content-Security-Policy": PAGE_POLICY,
    "Cache-Control": "no-store",
}

FAULT = "The server could not answer, through a fault of its own. Its log says more."
STOOD_STILL = 408
IS_READ = "multigrain.is_read"
RUN_OUT_SECONDS, STRANGERS_RUN_OUT_SECONDS = 10.0, 2.0
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@\\]+")


class Guard:
    """ASGI middleware that refuses, or lets through and adds the security headers.

    Args:
        app: what is guarded.
        settings: rates, and whether a proxy stands before it.
        sessions: who is let in; None for everybody.
    """

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions | None) -> None:
        self._app, self._settings, self.sessions = app, settings, sessions
        self._submissions = RateLimit(settings.submissions_per_minute, settings.submissions_per_minute / 60)
        self._requests = RateLimit(5 * settings.requests_per_second, float(settings.requests_per_second))
        self._logins = RateLimit(10, 1 / 6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers or hands on one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded_send = _with_headers(send)
        try:
            self._check(scope)
        except Refusal as refusal:
            answer = await answer_refusal(refusal, scope, receive)
            await answer(scope, receive, guarded_send)
            return
        await self._hand_on(scope, _noting_the_end(scope, receive), guarded_send)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the application answer; its faults are a sentence to the client, and everything to the log."""
        is_answered = False

        async def noting(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # whatever a request brings out, the client gets a sentence, and the server goes on
            refusal = refusal_of(error)
            if refusal is None:
                logger.exception("request %s %s", scope["method"], scope["path"])
                refusal = Refusal(500, FAULT)
            else:
                logger.warning("request %s %s: %s", scope["method"], scope["path"], sentence_of(error))
            if not is_answered:
                await (await answer_refusal(refusal, scope, receive))(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if is_crowded(scope):
            raise crowded()
        self._check_host(headers)
        if method not in READING:
            _check_origin(headers)
        self._check_rates(client_address(scope, is_behind_proxy=self._settings.is_behind_proxy), method, path)
        if self.sessions is None or self.sessions.is_allowed(headers):
            let_in(scope)
        elif path not in OPEN_PATHS:
            if method == "GET" and path == "/":
                raise Refusal(303, "Log in first.", {"Location": "/login"})
            raise Refusal(401, "This server asks for its token: log in on its page, or send the header `Authorization: Bearer TOKEN`.")

    def _check_host(self, headers: Mapping[str, str]) -> None:
        """On loopback only requests that name this machine; elsewhere the token decides, since the server cannot know all its names."""
        if self._settings.token is None and _host_name(headers.get("host", "")) not in LOOPBACK_NAMES:
            raise Refusal(
                421, "This server answers to 127.0.0.1 and localhost only. Open it under one of these, or start it with --host and --token."
            )

    def _check_rates(self, address: str, method: str, path: str) -> None:
        seconds = self._requests.wait_seconds(address)
        if seconds:
            raise too_many("Too many requests from this address.", seconds)
        if path == "/session" and method == "POST":
            seconds = self._logins.wait_seconds(address)
        elif path == "/api/analyses" and method == "POST":
            seconds = self._submissions.wait_seconds(address)
        if seconds:
            raise too_many("Too many submissions or logins from this address.", seconds)


def _host_name(host: str) -> str:
    return (urlsplit(f"//{host}").hostname or "") if _is_parsable(host) else ""


def _is_parsable(host: str) -> bool:
    try:
        urlsplit(f"//{host}").port  # noqa: B018 - raises where it is no number
    except ValueError:
        return False
    return True


def _check_origin(headers: Mapping[str, str]) -> None:
    """Requests that change something come from a page of this server (same origin) or from a program (no origin)."""
    origin, fetch_site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin not in (None, "null") and not (ORIGIN.fullmatch(str(origin)) and _is_parsable(str(origin).partition("://")[2])):
        raise Refusal(400, "The header `Origin` is malformed. Expected a scheme and a host, as browsers send them, or none.")
    is_foreign = origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
    if is_foreign or fetch_site not in (None, "same-origin", "none"):
        raise Refusal(403, "A page of another site may not send this. Use the server's own page, or a program.")


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded


def _noting_the_end(scope: Scope, receive: Receive) -> Receive:
    async def noting() -> Message:
        message = await receive()
        if not message.get("more_body", False):
            scope[IS_READ] = True
        return message

    return noting


async def answer_refusal(refusal: Refusal, scope: Scope, receive: Receive) -> JSONResponse:
    """The answer to a refused request, as every error `{"error": SENTENCE}`.

    What is left of its body is thrown away for a moment, since a client that is still sending when the connection closes may never read the answer;
    with a body that is not at its end by then, the connection cannot be used again.
    """
    is_read = scope.get(IS_READ) or (refusal.status != STOOD_STILL and await _run_out(scope, receive))
    return JSONResponse(
        {"error": refusal.sentence}, refusal.status, headers=refusal.headers if is_read else {**refusal.headers, "Connection": "close"}
    )


async def _run_out(scope: Scope, receive: Receive) -> bool:
    """Reads a body to its end, or for a moment, which is shorter for who has not shown the token; whether it came to its end."""
    headers = Headers(scope=scope)
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return True
    if headers.get("expect", "").lower() == "100-continue":
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(RUN_OUT_SECONDS if is_let_in(scope) else STRANGERS_RUN_OUT_SECONDS):
            while True:
                message = await receive()
                if not message.get("more_body", False):
                    return True
    return False
