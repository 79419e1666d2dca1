"""Hosts that are not the lab: a gateway, a DNS host's web API, a cloud that sends elsewhere – all of them repeat a lot.

`heard` is everything that arrived, for the question what was told to whom.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

#: From a whole request: status, headers, body.
Answer = Callable[[bytes], tuple[int, dict[str, str], bytes]]


@dataclass
class Stranger:
    """A listening host. `answer` is what it says next."""

    port: int = 0
    ca_file: str = ""
    heard: bytes = b""
    answer: Answer = field(default=lambda request: (502, {}, request))


@contextmanager
def listening(folder: Path, *, tls: bool) -> Iterator[Stranger]:
    """On localhost, over TLS with an authority of its own, until the end of the block."""
    stranger = Stranger()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = self.raw_requestline + self.headers.as_bytes() + body
            stranger.heard += request + b"\n"
            status, headers, said = stranger.answer(request)
            # a proxy's words of a refusal stand in the status line
            self.send_response(status, said.decode("latin-1").replace("\r", " ").replace("\n", " ")[:400]
                               if self.command == "CONNECT" else None)
            for name, value in {**headers, "Content-Length": str(len(said)), "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)
            self.close_connection = True
            return False

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        authority = trustme.CA()
        ca_file = folder / "stranger-ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        stranger.ca_file = str(ca_file)
    stranger.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield stranger
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
