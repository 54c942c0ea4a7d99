"""`multigrain serve`: the application, and the process that listens."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from multigrain import __version__
from multigrain.errors import ServerError
from multigrain.web.api import build_api
from multigrain.web.connection import MOST_CONNECTIONS, PatientConnection
from multigrain.web.pages import build_pages
from multigrain.web.refusal import Refusal
from multigrain.web.security import Guard, answer_refusal
from multigrain.web.services import Services
from multigrain.web.settings import Settings

WAITING_CONNECTIONS = 512
DESCRIPTION = """Submit videos and texts, watch them being analysed, and fetch what came of it: sentiment, utterance by utterance, with its evidence.
Every error is `{"error": SENTENCE}`. Where the server has a token, send `Authorization: Bearer TOKEN`."""


def create_app(settings: Settings) -> FastAPI:
    """The application; its workers start and end with it.

    Raises:
        ServerError: the data folder or the database cannot be used.
    """
    services = Services(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.start()
        try:
            yield
        finally:
            services.stop()

    app = FastAPI(title="multigrain", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.services = services
    app.include_router(build_api(services))
    app.include_router(build_pages(services, services.sessions))
    app.add_exception_handler(Refusal, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(ClientDisconnect, _nobody)
    app.add_middleware(Guard, settings=settings, sessions=services.sessions)
    return app


async def _nobody(_: Request, __: Exception) -> Response:
    """The client went away, so that nobody reads an answer, and nothing is wrong."""
    return Response(status_code=400)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    """Every error as `{"error": SENTENCE}`."""
    if isinstance(error, Refusal):
        refusal = error
    elif isinstance(error, HTTPException):
        sentence = {404: "There is no such page.", 405: "This address does not take this method."}.get(error.status_code, str(error.detail))
        refusal = Refusal(error.status_code, sentence, error.headers)
    else:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        refusal = Refusal(422, f"{first['loc'][-1]}: {first['msg']}.")
    return await answer_refusal(refusal, request.scope, request.receive)


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serves until it is interrupted.

    Args:
        settings: see there.
        announce: is told the page's address once it can be opened.

    Raises:
        ServerError: the address is taken, or the data folder or the database cannot be used.
    """
    listener = listen(settings)
    with contextlib.closing(listener):
        app = create_app(settings)
        _raise_file_limit()
        host, port = listener.getsockname()[:2]
        announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        uvicorn.Server(configuration(app)).run(sockets=[listener])


def configuration(app: FastAPI) -> uvicorn.Config:
    """How connections are served. Who counts them is this package (connection.py, security.py), whose refusals are sentences."""
    return uvicorn.Config(
        app,
        http=PatientConnection,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )


def listen(settings: Settings) -> socket.socket:
    """The listening socket; clients that come before the application is ready wait.

    Its protocol is named, because asyncio sends small answers at once (TCP_NODELAY) only on sockets that name it; on others each answer
    waits 40 ms for the client's acknowledgement of its first half.

    Raises:
        ServerError: the address is taken, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(WAITING_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise ServerError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror or error}). "
            "Another program may be using the port: choose another with --port, or 0 for any that is free."
        ) from error
    return listener


def _raise_file_limit() -> None:
    """Connections and uploads are open files; takes as many as the system allows without asking."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else min(4 * MOST_CONNECTIONS, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
