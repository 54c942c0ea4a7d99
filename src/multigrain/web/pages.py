"""The page itself: a few static files of the package, the login, and reports as they are."""

import asyncio
import urllib.parse
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as PathParameter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from multigrain.web.connection import let_in
from multigrain.web.folders import COPY, PAGE, POLICY, REPORT, find
from multigrain.web.media_type import MEDIA_TYPES
from multigrain.web.refusal import Refusal
from multigrain.web.services import Services
from multigrain.web.sessions import END_COOKIE, Sessions

STATIC = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "api.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""File of the package's folder `static` -> type; nothing else is served from there."""

LONGEST_LOGIN = 4096
LOGIN_SECONDS = 10.0


def _read(name: str) -> bytes:
    return files("multigrain.web").joinpath("static", name).read_bytes()


async def _small_body(request: Request) -> bytes:
    """The body of a login, in time and of a size that one has.

    Raises:
        Refusal: it is longer, or comes more slowly.
    """
    stated = request.headers.get("content-length", "0")
    body = b""
    try:
        async with asyncio.timeout(LOGIN_SECONDS):
            if not stated.isdigit() or int(stated) > LONGEST_LOGIN:
                raise Refusal(413, f"The login is too long: at most {LONGEST_LOGIN} bytes are taken.")
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_LOGIN:
                    raise Refusal(413, f"The login is too long: at most {LONGEST_LOGIN} bytes are taken.")
    except TimeoutError:
        raise Refusal(408, f"The login did not come within {LOGIN_SECONDS:g} s and was given up. Try again.") from None
    return body


def build_pages(services: Services, sessions: Sessions | None) -> APIRouter:
    """The routes that are not the API's; they are not in the OpenAPI document."""
    pages = APIRouter(include_in_schema=False)

    def html(name: str) -> Response:
        return Response(_read(name), media_type="text/html")

    @pages.get("/")
    def index() -> Response:
        return html("index.html")

    @pages.get("/docs")
    def documents() -> Response:
        return html("api.html")

    @pages.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @pages.get("/favicon.ico")
    def icon() -> Response:
        return Response(_read("icon.svg"), media_type="image/svg+xml")

    @pages.get("/static/{name}")
    def static(name: Annotated[str, PathParameter()]) -> Response:
        if name not in STATIC:
            raise Refusal(404, "There is no such page.")
        return Response(_read(name), media_type=STATIC[name], headers={"Cache-Control": "no-cache"})

    @pages.get("/login")
    def login() -> Response:
        return html("login.html") if sessions else RedirectResponse("/", 303)

    @pages.post("/session")
    async def begin_session(request: Request) -> Response:
        fields = urllib.parse.parse_qs((await _small_body(request)).decode("utf-8", errors="replace"))
        if sessions is None:
            return RedirectResponse("/", 303)
        if not sessions.is_token(fields.get("token", [""])[0].strip()):
            return RedirectResponse("/login#wrong", 303)
        let_in(request.scope)
        return RedirectResponse("/", 303, headers={"Set-Cookie": sessions.new_cookie(is_secure=_is_secure(request))})

    @pages.post("/session/end")
    async def end_session(request: Request) -> Response:
        """Ends this session, or with `everywhere=yes` all that were begun until now."""
        fields = urllib.parse.parse_qs((await _small_body(request)).decode("utf-8", errors="replace"))
        if sessions is not None:
            await run_in_threadpool(sessions.end, request.headers)
            if fields.get("everywhere") == ["yes"]:
                await run_in_threadpool(sessions.end_all)
        return RedirectResponse("/login", 303, headers={"Set-Cookie": END_COOKIE})

    def _is_secure(request: Request) -> bool:
        return services.settings.is_behind_proxy or request.url.scheme == "https"

    @pages.get("/analyses/{id}/{name}")
    def report(id: Annotated[str, PathParameter()], name: Annotated[str, PathParameter()]) -> FileResponse:
        """The report, and the video that it shows, which it expects beside it."""
        job = services.job(id)
        folder = services.folders.job(id)
        video = find(folder, "video")
        if name == REPORT and job.state == "done":
            return FileResponse(folder / PAGE, media_type="text/html", headers={"Content-Security-Policy": _report_policy(folder)})
        if video is not None and name == video.name:
            return FileResponse(video, media_type=MEDIA_TYPES[video.suffix[1:]])
        if name == COPY and (folder / COPY).is_file():
            return FileResponse(folder / COPY, media_type="video/mp4")
        raise Refusal(404, "There is no such page.")

    return pages


def _report_policy(folder: Path) -> str:
    """What the report's writer lets it run, which is its one script; and only this server's page may frame it."""
    return f"{(folder / POLICY).read_text(encoding='ascii').strip()}; frame-ancestors 'self'"
