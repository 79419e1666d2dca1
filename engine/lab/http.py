"""HTTP without a server: a handler is a pure function from Request to Response; an adapter serves it with aiohttp.

The same handlers can be driven by a carrier of bytes in memory, so no handler knows of sockets or of asyncio.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

    from engine.lab.counters import Counters
    from engine.lab.faults import Faults

#: The largest body that is read. A CSV of 2,000 rows as a list of numbers is about half a mebibyte.
BODY_BYTES_MAX = 32 * 1024 * 1024

REFUSALS = {
    "throttle": (429, "TooManyRequests", "Too many requests. Please try again later."),
    "unavailable": (503, "serviceNotAvailable", "The service is temporarily unavailable. Please try again later."),
}


@dataclass(frozen=True, slots=True)
class Request:
    """path is decoded, query without repeats, header names in lower case; origin is "https://host:port"."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    origin: str = ""

    def json(self) -> Any:
        """The body as JSON. ValueError when it is not."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """status 0: the connection is closed without an answer (the request was handled all the same)."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]


def answer(status: int, document: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; without a document, an empty one."""
    if document is None:
        return Response(status, b"", headers or {})
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})


class Gate:
    """Around each request of a cloud service: the fault that is due, and the counters. Pure.

    `words` makes the body of a refusal from a code and a text.
    """

    def __init__(self, faults: Faults, counters: Counters,
                 words: Callable[[str, str], Any] = lambda code, text: {"error": {"code": code, "message": text}},
                 ) -> None:
        self._faults = faults
        self._counters = counters
        self._words = words

    def whole(self, kind: str, act: Callable[[], Response]) -> Response:
        """A request of its own; when its answer is to be lost, status 0."""
        return self._through(kind, act, 0)

    def part(self, kind: str, act: Callable[[], Response]) -> Response:
        """A request inside a batch; a lost answer shows as 504."""
        return self._through(kind, act, 504)

    def envelope(self, kind: str, act: Callable[[], Response]) -> Response:
        """A batch: its parts are counted as what they are, and only they can change anything."""
        self._counters.requests[kind] += 1
        return self._judged(kind, act, 0)

    def _through(self, kind: str, act: Callable[[], Response], lost: int) -> Response:
        with self._counters.request(kind):
            return self._judged(kind, act, lost)

    def _judged(self, kind: str, act: Callable[[], Response], lost: int) -> Response:
        if self._faults.denied(kind):
            return answer(403, self._words("Authorization_RequestDenied",
                                           "Insufficient privileges to complete the operation."))
        echoed = self._faults.echoed(kind)
        if echoed is not None:
            return answer(echoed[0], self._words("BadRequest", echoed[1]))
        verdict = self._faults.verdict(kind)
        if verdict is None:
            return act()
        if verdict[0] == "drop":
            act()
            return Response(lost)
        status, code, text = REFUSALS[verdict[0]]
        return answer(status, self._words(code, text), {"Retry-After": str(verdict[1])} if verdict[1] else None)


async def serve(handler: Handler, host: str, context: ssl.SSLContext | None,
                faults: Faults, now: Callable[[], datetime]) -> tuple[web.AppRunner, int]:
    """Serve `handler` on a free port; answers the runner (to clean up) and the port. `now`: the service's own clock."""
    from aiohttp import web

    async def carry(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            await faults.arrived(f"{request.method} {request.path_qs}")
        except ConnectionAbortedError:
            return _cut(request)
        faults.heard = as_sent(request.method, request.path_qs, request.headers, body)
        answered = handler(Request(
            request.method, request.path, dict(request.query),
            {name.lower(): value for name, value in request.headers.items()}, body,
            f"{request.scheme}://{request.host}"))
        await faults.answering()
        if answered.status == 0:
            return _cut(request)
        response = web.Response(status=answered.status, body=answered.body, headers={
            "Date": format_datetime(now().astimezone(UTC), usegmt=True), **answered.headers})
        await response.prepare(request)
        await response.write_eof()
        await faults.answered()
        return response

    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application.router.add_route("*", "/{path:.*}", carry)
    return await listen(application, host, context)


def as_sent(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request as a debug page tells it: what it is, who asks, the body, then the other headers."""
    names = sorted(headers, key=lambda name: "authorization" not in name.lower())
    asks = [f"{name}: {headers[name]}\r\n" for name in names]
    first = "authorization" in names[0].lower() if names else False
    return b"\r\n".join((f"{method} {path} HTTP/1.1\r\n{asks[0] if first else ''}".encode(), body,
                         "".join(asks[first:]).encode()))


def _cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    from aiohttp import web

    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def listen(application: web.Application, host: str, context: ssl.SSLContext | None = None,
                 **options: Any) -> tuple[web.AppRunner, int]:
    """Start an application on a free port of `host`. aiohttp sets TCP_NODELAY on every connection itself."""
    from aiohttp import web

    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5, **options)
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=context)
    await site.start()
    return runner, int(runner.addresses[0][1])
