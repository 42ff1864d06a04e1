"""The server of the page, which routes each request to a function of values.

It serves one person's own browser: it answers only to the loopback names and to a client that has the token of the
printed address. Neither another site nor another user of the machine can reach it. Every request is limited in its
size and in its values; `connections` limits the number of requests and the time that they take to arrive.

It uses Starlette and uvicorn rather than the standard library's http.server: with one event loop, a slow client does
not hold a thread, and maintained code handles headers, methods and shutdown.
"""

import contextlib
import json
import secrets
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from makemore_jax.errors import InputError, require

from ..shared.symbols import label
from . import inside, views
from .open_runs import LiveRun, Opened, Shelf, TableOnDisk

PAGE = Path(__file__).parent / "page"
HOSTS = ["127.0.0.1", "localhost", "[::1]"]
MAX_BODY = 2**16  # bytes
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {  # on every answer, by `connections.server`
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
LIVE = ("rows", "baselines", "done", "problem", "paused", "hidden", "rate", "trainings")  # shown of the run in training
WANTED = {"n": int, "prefix": str, "seed": int, "temperature": float, "top_k": (int, None), "top_p": float}


class Guard:
    """Let in only requests of the page itself, from the browser that had the token."""

    def __init__(self, app: Any, token: str, once: str | None = None):
        """Guard this application with this token, and with one that opens the page only once."""
        self.app, self.token, self.once, self.cookie = app, token, once, secrets.token_urlsafe()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await (self._instead(Request(scope)) or self.app)(scope, receive, send)

    def _instead(self, request: Request) -> Response | None:
        """The answer in place of the application: a refusal, or a cookie for the token; None lets the request in."""
        if any(origin != f"http://{request.headers['host']}" for origin in request.headers.getlist("origin")):
            return PlainTextResponse("another site may not ask this page\n", 403)
        name = f"makemore-{request.url.port}"  # the pages of all ports share their cookies
        if self._opens(request.query_params.get("token")):
            # The answer is the page and not a redirect, on which a browser that came from another site would not send
            # the cookie. The page first removes the token from the address.
            answer = FileResponse(PAGE / "index.html")
            answer.set_cookie(name, self.cookie, httponly=True, samesite="strict")
            return answer
        if _same(request.cookies.get(name), self.cookie):
            return None
        return PlainTextResponse("open the whole address that the terminal printed: it holds a token\n", 403)

    def _opens(self, given: str | None) -> bool:
        """Whether this token opens the page. Other users see the arguments of a started browser, so its token dies."""
        if self.once and _same(given, self.once):
            self.once = None
            return True
        return _same(given, self.token)


def _same(given: str | None, secret: str) -> bool:
    """Whether both are equal, compared in constant time."""
    return secrets.compare_digest((given or "").encode(), secret.encode())


def field(asked: dict, name: str, kind: Any) -> Any:
    """Check and return one value of a request."""
    value: Any = asked.get(name)
    given, optional = type(value), isinstance(kind, tuple)
    if optional and value is None:
        return None
    kind = kind[0] if optional else kind
    fits = given is kind or (kind is float and given is int)
    fits = fits and (given is not int or abs(value) < 2**63)
    require(fits, f"the request needs `{name}`, of type {kind.__name__}")
    if kind is str:
        limit = views.MAX_TEXT
        require(len(value) <= limit, f"`{name}` has {len(value):,} characters; the limit is {limit:,}")
        require(not any(0xD800 <= ord(c) < 0xE000 for c in value), f"`{name}` is not text")
    return float(value) if kind is float else value


def app(shelf: Shelf, tables: TableOnDisk, token: str, once: str | None = None) -> Starlette:
    """Make the application that serves these models and this table to a client with a token; see `Guard`."""
    one_at_a_time = threading.Lock()  # one computation uses every core, so several would only wait for each other

    def state(_: dict) -> dict:
        told = {name: getattr(shelf.live, name) for name in LIVE} if shelf.live else None
        limits = {"max_text": views.MAX_TEXT, "max_lines": views.MAX_LINES}
        return {"runs": shelf.describe(), "table": tables.version(), "live": told, **limits}

    def lines(asked: dict) -> dict:
        counted = tables.now()
        require(field(asked, "version", str) == counted.version, "the lines have changed; the table is counted again")
        return counted.table.lines_with(field(asked, "first", int), field(asked, "second", int))

    def append(run: Opened, asked: dict) -> dict:
        symbols, token = run.trained.vocab.symbols, field(asked, "token", int)
        known = 0 <= token < len(symbols) and label(symbols[token]) == field(asked, "label", str)
        require(known, "there is no such symbol")
        return {"text": views.append(run.trained, text(asked), token)}

    def pause(asked: dict) -> dict:
        live().pause(field(asked, "paused", bool))
        return {}

    def anew(asked: dict) -> dict:
        live().start_anew(field(asked, "hidden", int), field(asked, "rate", float))
        return {}

    def live() -> LiveRun:
        if not shelf.live:
            raise InputError("no model is in training on this page")
        return shelf.live

    def replay(run: Opened, asked: dict) -> dict:
        same = field(asked, "version", str) == run.version
        require(same, "the run has changed since these lines were drawn; draw again")
        return views.replay(run.trained, wanted(asked), field(asked, "index", int))

    def of_run(view: Callable[[Opened, dict], dict]) -> Callable[[dict], dict]:
        def answer(asked: dict) -> dict:
            run = shelf.find(field(asked, "run", str))
            return {"version": run.version, **view(run, asked)}

        return answer

    wanted = lambda asked: {name: field(asked, name, kind) for name, kind in WANTED.items()}
    text = lambda asked: field(asked, "text", str)
    looks = {"state": state, "table": lambda _: {"version": tables.now().version, **tables.now().table.values}}
    asks = {
        "lines": lines,
        "type": of_run(lambda run, asked: views.type_line(run.trained, text(asked))),
        "append": of_run(append),
        "pause": pause,
        "anew": anew,
        "make": of_run(lambda run, asked: views.make(run.trained, wanted(asked), run.lines)),
        "replay": of_run(replay),
        "inside": of_run(lambda run, asked: inside.inside(run.trained, text(asked))),
    }

    def answer(view: Callable[[dict], dict], asked: dict) -> Response:
        try:
            with contextlib.nullcontext() if view is state else one_at_a_time:
                return json_response(view(asked))
        except InputError as error:
            return json_response({"error": " ".join(str(error).replace("`", "").split())}, 400)

    def endpoint(view: Callable[[dict], dict]) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            asked = {} if request.method == "GET" else await body(request)
            return await run_in_threadpool(answer, view, asked)

        return respond

    routes = [Route(f"/{name}", endpoint(view), methods=["GET"]) for name, view in looks.items()]
    routes += [Route(f"/{name}", endpoint(view), methods=["POST"]) for name, view in asks.items()]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)
    handlers: dict[Any, Any] = {HTTPException: refuse, ClientDisconnect: gone, 500: broken}
    return Starlette(
        routes=[Mount("/api", routes=routes), Mount("/", StaticFiles(directory=PAGE, html=True))],
        middleware=[trusted, Middleware(Guard, token=token, once=once)],
        exception_handlers=handlers,
    )


def warm_up(shelf: Shelf, stopped: threading.Event) -> None:
    """Compile what the first key press needs for each model, before anybody presses a key."""
    wanted = {"n": 24, "prefix": "", "seed": 1, "temperature": 1.0, "top_k": None, "top_p": 1.0}
    first = lambda trained: views.type_line(trained, "")
    rest = (lambda trained: views.make(trained, wanted, None), lambda trained: inside.inside(trained, ""))
    rest += (lambda trained: views.replay(trained, wanted, 0),)
    with contextlib.suppress(InputError):
        for view in (first, *rest):
            for run in shelf.describe():
                if not stopped.is_set():
                    view(shelf.find(run["name"]).trained)


async def body(request: Request) -> dict:
    """Read the JSON object of a request; raise `HTTPException` if it is too long or not a JSON object."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send JSON")
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY:
            raise HTTPException(413, f"the request is over {MAX_BODY:,} bytes")
    try:
        asked = json.loads(raw)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise HTTPException(400, "the request is not a JSON object")
    return asked


def json_response(value: dict, status: int = 200) -> Response:
    """Make a JSON answer of plain values; a number that is not finite is a bug in a view."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


def refuse(_: Request, error: HTTPException) -> Response:
    """Answer a request that the page would not make with one line."""
    return json_response({"error": " ".join(str(error.detail).split())}, error.status_code)


def gone(*_: Any) -> Response:
    """Answer a client that left before its request was complete; nobody reads the answer."""
    return Response(status_code=400)


def broken(_: Request, error: Exception) -> Response:
    """Report a bug to the page in one line; uvicorn logs the traceback."""
    return json_response({"error": "the server failed; its terminal shows the error"}, 500)
