"""The inspector as a local page: a small server on loopback that only its own page can read from.

Every answer needs the token of this server, which the printed address carries once and a cookie keeps after that; the
Host must be exactly its own, and a request that another page caused is refused. Nothing can be written: there is
nothing but GET. What is asked for is named by run and step, never by a path.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

from neuronwise.errors import NeuronwiseError, NotFoundError, UsageError
from neuronwise.inspecting.page import page

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_RUN = re.compile(r"[0-9a-f]{8,64}")
_SLOW_S = 10.0
_Send = Callable[[Any], Awaitable[None]]

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'; object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Sent with every answer; a page's own policy stands in it."""


class Runs(Protocol):
    """Where the server gets what it shows. Its methods are called from several threads."""

    def listing(self, *, everywhere: bool) -> dict[str, Any]:
        """Return ``{"runs": […], "problem": …}``; with `everywhere` also those of the store, which takes time."""

    def payload(self, run: str) -> dict[str, Any]:
        """Return what the inspector shows of a run, named by its id.

        Raises:
            NeuronwiseError: It cannot be shown.
        """

    def news(self, run: str, since: int) -> dict[str, Any]:
        """Return ``{"states": […], "training": …, "live": …}``: what came since a step of a training that runs.

        Raises:
            NeuronwiseError: There is no such run.
        """

    def neuron(self, run: str, layer: int, neuron: int) -> dict[str, Any]:
        """Return the statistics of a neuron at every step at which they were recorded, by name.

        Raises:
            NeuronwiseError: There is no such neuron.
        """

    def diagnosis(self, run: str) -> dict[str, Any]:
        """Return why the training went as it did, as `diagnosis_part` gives it.

        Raises:
            NeuronwiseError: It cannot be said.
        """

    def state(self, run: str, step: int) -> bytes:
        """Return weights and buffers after a step: float32, little-endian, one after the other.

        Raises:
            NeuronwiseError: There is no such step.
        """


def new_token() -> str:
    """Return 256 random bits, as text for an address."""
    return secrets.token_urlsafe(32)


def make_app(runs: Runs, token: str, port: int) -> Any:
    """Return the server's application (ASGI)."""
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
    from starlette.routing import Route

    cookie = f"neuronwise-{port}"

    def enter(request: Request) -> Response:
        run = request.query_params.get("run", "")
        answer = RedirectResponse(f"/run/{run}" if _RUN.fullmatch(run) else "/", status_code=303)
        answer.set_cookie(cookie, token, httponly=True, samesite="strict", path="/")
        return answer

    def index(request: Request) -> Response:
        content = {"format": "neuronwise-runs", **runs.listing(everywhere=False)}
        return HTMLResponse(page(content, title="Neuronwise: runs", connect="'self'"))

    def listing(request: Request) -> Response:
        return JSONResponse(runs.listing(everywhere=True))

    def show(request: Request) -> Response:
        payload = runs.payload(_run_of(request))
        name = str(payload["run"].get("name", ""))
        return HTMLResponse(page(payload, title=f"{name}: inspector", connect="'self'"))

    def state(request: Request) -> Response:
        content = runs.state(_run_of(request), int(request.path_params["step"]))
        return Response(content, media_type="application/octet-stream")

    def news(request: Request) -> Response:
        return JSONResponse(runs.news(_run_of(request), int(request.path_params["step"])))

    def neuron(request: Request) -> Response:
        place = request.path_params
        return JSONResponse(runs.neuron(_run_of(request), int(place["layer"]), int(place["neuron"])))

    def diagnosis(request: Request) -> Response:
        return JSONResponse(runs.diagnosis(_run_of(request)))

    def failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, NeuronwiseError)
        status = 404 if isinstance(error, NotFoundError) else 422
        return Response(f"{error.message}\n{error.hint or ''}"[:2000], status_code=status, media_type="text/plain")

    routes = [
        Route("/enter", enter),
        Route("/", index),
        Route("/runs.json", listing),
        Route("/run/{run:str}", show),
        Route("/run/{run:str}/step/{step:int}", state),
        Route("/run/{run:str}/since/{step:int}", news),
        Route("/run/{run:str}/neuron/{layer:int}/{neuron:int}", neuron),
        Route("/run/{run:str}/diagnosis", diagnosis),
    ]
    app: Starlette = Starlette(routes=routes, exception_handlers={NeuronwiseError: failed})
    return _Guard(app, token, cookie, {f"127.0.0.1:{port}", f"localhost:{port}"})


def _run_of(request: Request) -> str:
    run = str(request.path_params["run"])
    if not _RUN.fullmatch(run):
        raise NotFoundError("there is no such run")
    return run


class _Guard:
    """Lets a request through only if it comes from this server's own page and asks for something that can be."""

    def __init__(self, app: Any, token: str, cookie: str, hosts: set[str]) -> None:
        self._app, self._token, self._cookie, self._hosts = app, token, cookie, hosts

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope) if scope["type"] == "http" else (403, "only HTTP is answered here")
        if refused is not None:
            if scope["type"] == "http":
                await _tell(send, *refused)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refusal(self, scope: Mapping[str, Any]) -> tuple[int, str] | None:
        """Return status and words for a request that is not answered; None if it may be."""
        names: dict[str, list[str]] = {}
        for key, value in scope["headers"]:
            names.setdefault(key.decode("latin-1"), []).append(value.decode("latin-1"))
        hosts = names.get("host", [])
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return 421, "this address is not this server's"
        if any(origin not in {f"http://{host}" for host in self._hosts} for origin in names.get("origin", [])):
            return 403, "another page may not ask"
        if any(site not in ("same-origin", "none") for site in names.get("sec-fetch-site", [])):
            return 403, "another page may not ask"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "nothing can be changed here"
        if "transfer-encoding" in names or any(length != "0" for length in names.get("content-length", [])):
            return 413, "nothing is taken here"
        raw = bytes(scope.get("raw_path") or scope["path"].encode())
        if len(raw) > 300 or b"%" in raw or b".." in raw or b"\\" in raw:
            return 400, "there is no such address"
        given = None
        if scope["path"] == "/enter":
            given = parse_qs(scope["query_string"].decode("latin-1")[:1000]).get("token", [""])[0]
        else:
            for part in "; ".join(names.get("cookie", [])).split("; "):
                key, _, value = part.partition("=")
                if key == self._cookie:
                    given = value
        if given is None or not hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
            return 401, "open the address that the command neuronwise ui printed: it holds the key"
        return None


async def _tell(send: _Send, status: int, words: str) -> None:
    headers = {**HEADERS, "Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
    pairs = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": words.encode()})


def free_socket(port: int, *, tries: int = 50) -> socket.socket:
    """Return a listening socket on loopback: at `port`, or the next that is free; 0: at any.

    Raises:
        UsageError: None of them is free, or `port` is no port.
    """
    if not 0 <= port <= 65_535:
        raise UsageError(f"a port is a number from 0 to 65535, got {port}", where="--port")
    for candidate in range(port, min(port + tries, 65_536)) if port else (0,):
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            found.bind(("127.0.0.1", candidate))
            found.listen(64)
        except OSError:
            found.close()
            continue
        return found
    raise UsageError(f"no port from {port} to {port + tries - 1} is free", where="--port", hint="choose another one")


def serve(app: Any, listening: socket.socket) -> None:
    """Answer until Ctrl-C."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        """Closes a connection, with words, on which a request is begun and not ended within some seconds."""

        _patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_waiting():
                self._wait()  # for the rest of the next request: that began with these bytes, or it will
            else:
                self._wait_no_more()

        def _is_waiting(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _wait(self) -> None:
            if self._patience is None:
                self._patience = asyncio.get_running_loop().call_later(_SLOW_S, self._too_slow)

        def _wait_no_more(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

        def _too_slow(self) -> None:
            self._patience = None
            if self._is_waiting() and not self.transport.is_closing():
                words = b"too slow"
                self.transport.write(
                    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(words), words)
                )
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait_no_more()
            super().connection_lost(exc)

    config = uvicorn.Config(
        app, http=Impatient, ws="none", lifespan="off", log_level="critical", access_log=False, server_header=False,
        date_header=False, limit_concurrency=100, timeout_keep_alive=10, h11_max_incomplete_event_size=16_384,
        proxy_headers=False,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])
