"""A real browser without a screen: what a page becomes in it, and what it asks for."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

#: Nothing but the page: no updates, no sync, and no name but the listener's address is ever looked up.
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
           "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=3000", "--dump-dom")
SECONDS_MAX = 240


class Listener:
    """Notes every request on a port of this machine and answers it with a script that would change the title."""

    def __init__(self) -> None:
        noted: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                noted.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/javascript")
                self.end_headers()
                self.wfile.write(b"document.title='Pwned'")

            def log_message(self, *arguments: object) -> None:
                """Says nothing."""

        self.noted = noted
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Seen(HTMLParser):
    """The document as the browser left it."""

    title: str = ""
    elements: dict[str, int] = field(default_factory=dict)
    attributes: set[tuple[str, str]] = field(default_factory=set)
    _inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.attributes.update((tag, name) for name, _ in attrs)
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data


def opened(page: Path) -> Seen:
    """The page, opened in the browser, three seconds of its own time later."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        ran = subprocess.run(["chromium", *OPTIONS, f"--user-data-dir={profile}", page.as_uri()], capture_output=True,
                             timeout=SECONDS_MAX, check=True)
    seen = Seen()
    seen.feed(ran.stdout.decode("utf-8", "replace"))
    return seen
