"""The server of the page: Starlette routes from a request to a function of values.

It is meant for one person's own browser: it answers only to the loopback names, so that no other site can reach it
through that browser; no request names a path; every request is bounded in size, in what it asks and in how often.

Starlette and uvicorn rather than the standard library's http.server: one event loop keeps slow clients from holding a
thread each, and headers, methods and shutdown are handled by code that is maintained for it.
"""

import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiments.explore import inside, views
from experiments.explore.open_runs import Shelf
from experiments.explore.table import Table
from makemore_jax.errors import InputError, require

PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
HOSTS = ("127.0.0.1", "localhost", "[::1]")
MAX_BODY = 2**16  # bytes
RATE, BURST = 60, 240  # requests a second in the long run, and at once
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
LIVE = ("rows", "baselines", "done", "problem")  # what the page shows of the run in training
WANTED = {"n": int, "prefix": str, "seed": int, "temperature": float, "top_k": (int, None), "top_p": float}


class Bucket:
    """A limit on how often: `rate` a second in the long run, `burst` at once."""

    def __init__(self, rate: float = RATE, burst: float = BURST, clock: Callable[[], float] = time.monotonic):
        """Full at first."""
        self.rate, self.burst, self.clock = rate, burst, clock
        self.left, self.at, self.lock = burst, clock(), threading.Lock()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        with self.lock:
            now = self.clock()
            self.left, self.at = min(self.burst, self.left + (now - self.at) * self.rate), now
            allowed = self.left >= 1
            self.left -= allowed
            return allowed


class Guard:
    """Refuse what does not come from the page itself, and put the security headers on every answer."""

    def __init__(self, app: ASGIApp, bucket: Bucket):
        """Around this application."""
        self.app, self.bucket = app, bucket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        names = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(names) != 1 or _host(names[0]) not in HOSTS:
            return PlainTextResponse("this page answers to 127.0.0.1 and localhost only\n", 403)
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if any(origin != f"http://{names[0]}" for origin in origins):
            return PlainTextResponse("another site may not ask this page\n", 403)
        if not self.bucket.take():
            return PlainTextResponse("too many requests; wait a second\n", 429)
        return None


def _host(name: str) -> str:
    """The host of a Host header, without its port."""
    host, colon, port = name.rpartition(":")
    return (host if colon and port.isdigit() else name).lower()


def field(asked: dict, name: str, kind: Any) -> Any:
    """A value of a request."""
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


def app(shelf: Shelf, table: Table | str, bucket: Bucket | None = None) -> Any:
    """The application: these models, and this table or why there is none."""
    one_at_a_time = threading.Lock()  # JAX uses every core for one; several would only wait for each other

    def state(_: dict) -> dict:
        told = {name: getattr(shelf.live, name) for name in LIVE} if shelf.live else None
        return {"runs": shelf.describe(), "live": told, "max_text": views.MAX_TEXT, "max_lines": views.MAX_LINES}

    def counted() -> Table:
        if not isinstance(table, Table):
            raise InputError(table)
        return table

    def wanted(asked: dict) -> dict:
        return {name: field(asked, name, kind) for name, kind in WANTED.items()}

    trained = lambda asked: shelf.trained(field(asked, "run", str))
    text = lambda asked: field(asked, "text", str)
    looks = {"state": state, "table": lambda _: counted().values}
    asks = {
        "lines": lambda asked: counted().lines_with(field(asked, "first", int), field(asked, "second", int)),
        "type": lambda asked: views.type_line(trained(asked), text(asked)),
        "append": lambda asked: {"text": views.append(trained(asked), text(asked), field(asked, "token", int))},
        "make": lambda asked: views.make(trained(asked), wanted(asked), shelf.find(asked["run"]).lines),
        "replay": lambda asked: views.replay(trained(asked), wanted(asked), field(asked, "index", int)),
        "inside": lambda asked: inside.inside(trained(asked), text(asked)),
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

    routes = [Route(f"/api/{name}", endpoint(view), methods=["GET"]) for name, view in looks.items()]
    routes += [Route(f"/api/{name}", endpoint(view), methods=["POST"]) for name, view in asks.items()]
    routes += [static(path) for path in sorted(PAGE.iterdir()) if path.suffix in KINDS]
    handlers = {HTTPException: refuse, 500: broken}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), bucket or Bucket())


def warm_up(shelf: Shelf, stopped: threading.Event) -> None:
    """Compile what the first key press of each model needs, before somebody presses it."""
    wanted = {"n": 24, "prefix": "", "seed": 1, "temperature": 1.0, "top_k": None, "top_p": 1.0}
    first = lambda trained: views.type_line(trained, "")
    rest = (lambda trained: views.make(trained, wanted, None), lambda trained: inside.inside(trained, ""))
    rest += (lambda trained: views.replay(trained, wanted, 0),)
    with contextlib.suppress(InputError):
        for view in (first, *rest):
            for run in shelf.describe():
                if not stopped.is_set():
                    view(shelf.trained(run["name"]))


async def body(request: Request) -> dict:
    """The JSON object of a request.

    Raises:
      HTTPException: it is too long, or no such thing.
    """
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


def static(path: Path) -> Route:
    """A file of the page, read when it is asked for, so that an edit shows at once; its name comes from the disk."""
    respond = lambda _: Response(path.read_bytes(), media_type=KINDS[path.suffix])
    return Route("/" if path.name == "index.html" else f"/{path.name}", respond, methods=["GET"])


def json_response(value: dict, status: int = 200) -> Response:
    """JSON of plain values; a number that is not finite would be a bug of a view."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


def refuse(_: Request, error: HTTPException) -> Response:
    """What is no request of the page: one line."""
    return json_response({"error": " ".join(str(error.detail).split())}, error.status_code)


def broken(_: Request, error: Exception) -> Response:
    """A bug of ours: one line for the page; uvicorn logs the traceback."""
    return json_response({"error": "the server made a mistake; its terminal says which"}, 500)
