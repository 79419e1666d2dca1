"""A small cloud on 127.0.0.1: a sign-in service and one service that answers as a test tells it to, over TLS."""

from __future__ import annotations

import json
import random
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from engine.connections import Site
from engine.world import StillClock, World

TENANT = "9a1e0000-0000-4000-8000-000000000001"
START = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)


@dataclass
class Seen:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Reply:
    """status 0: the connection is closed without an answer. `raw` instead of JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None


class Cloud:
    """`answer` is asked for every request but those for tokens, which are in `signed`; the others in `seen`, in order.

    secret: the one that is taken; "" takes anything. refusal: what another is told. date: the sign-in service's clock.
    """

    def __init__(self) -> None:
        self.answer: Callable[[Seen], Reply] = lambda _: Reply(404)
        self.seen: list[Seen] = []
        self.tokens = 0
        self.sign_in_busy = 0
        self.signed: list[Seen] = []
        self.lasts_seconds = 3600
        #: the token that is given out; "": one with a number
        self.gives = ""
        self.date = ""
        self.refusal = "AADSTS7000215: correct horse?"
        self.secret = "correct horse"
        self.origin = ""
        #: the address it gives itself, where it is reached by another name
        self.shown = ""
        self.ca_file = ""

    def settings(self) -> dict[str, Any]:
        return {"url": self.origin, "authority": self.origin, "client_id": "app", "client_secret": "correct horse",
                "ca_file": self.ca_file}

    def site(self, **more: Any) -> Site:
        clock = StillClock(START)
        world = World(clock=clock, random=random.Random(1), environment={})
        settings = {"tenant": {"id": TENANT, "domain": "contoso.onmicrosoft.com"}, **more}
        return Site({"graph": self.settings(), "exchange_online": self.settings()}, settings, world)

    def in_turn(self, *replies: Reply) -> None:
        """These answers, one after the other; the last one for ever."""
        left = list(replies)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def route(self, seen: Seen) -> Reply:
        if self.sign_in_busy and TENANT in seen.path and "/adminapi/" not in seen.path:
            self.sign_in_busy -= 1
            return Reply(503, None, {"Retry-After": "20"})
        if seen.path.endswith("/openid-configuration"):
            base = f"{self.shown or self.origin}/{TENANT}"
            return Reply(200, {"issuer": f"{base}/v2.0", "token_endpoint": f"{base}/oauth2/v2.0/token",
                               "authorization_endpoint": f"{base}/oauth2/v2.0/authorize"})
        if seen.path.endswith("/oauth2/v2.0/token"):
            self.signed.append(seen)
            dated = {"Date": self.date} if self.date else {}
            if self.secret and f"client_secret={self.secret.replace(' ', '+')}" not in str(seen.body):
                return Reply(401, {"error": "invalid_client", "error_description": self.refusal}, dated)
            self.tokens += 1
            return Reply(200, {"access_token": self.gives or f"token-number-{self.tokens}", "token_type": "Bearer",
                               "expires_in": self.lasts_seconds}, dated)
        self.seen.append(seen)
        return self.answer(seen)


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(data) if data else None
            except ValueError:
                body = data.decode()
            reply = cloud.route(Seen(self.command, self.path, dict(self.headers.items()), body))
            if reply.status == 0:
                self.close_connection = True
                return
            out = reply.raw if reply.raw is not None else (
                b"" if reply.body is None else json.dumps(reply.body).encode())
            head = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {len(out)}"]
            head += [f"{name}: {value}" for name, value in reply.headers.items()]
            self.wfile.write("\r\n".join([*head, "", ""]).encode() + out)

        do_GET = do_POST = do_PATCH = serve  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


@contextmanager
def running(folder: Path, *names: str) -> Iterator[Cloud]:
    """`names`: further names that its certificate is made for."""
    cloud = Cloud()
    authority = trustme.CA()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cloud))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", *names).configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    cloud.origin, cloud.ca_file = f"https://127.0.0.1:{server.server_address[1]}", str(folder / "ca.pem")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
