"""tell: mail and webhook hear once of what stops a run; one that cannot be reached never stops it."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from engine.contract import ExitCode
from tests.whole.stage import Stage, staged

MAIL = "anna@contoso.com"


class Receiver:
    """A webhook's listener on loopback: what was posted to it, and how it answers."""

    def __init__(self, folder: Path) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 200
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(folder / "hook-ca.pem"))
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posted.append({"path": self.path, **json.loads(text)})
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.server_port}/hook/a-key-of-its-own"


@contextmanager
def receiving(folder: Path) -> Iterator[Receiver]:
    receiver = Receiver(folder)
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Receiver]]:
    folder = tmp_path_factory.mktemp("told")
    with receiving(folder) as receiver, staged(folder, batch="Batch01") as stage:
        text = stage.inventory.read_text(encoding="utf-8")
        hook = stage.inventory.parent / "hook"
        hook.write_text(receiver.url)
        news = {"tell": {"mail": MAIL, "late_after": "1 hours"}, "webhook": {"ca_file": str(folder / "hook-ca.pem")}}
        text = text.replace('"connections": {', f'"tell": {json.dumps(news["tell"])},\n "connections": {{"webhook": '
                            f'{{"url": !secret "file:{hook}", {json.dumps(news["webhook"])[1:]}, ', 1)
        stage.inventory.write_text(text, encoding="utf-8")
        yield stage, receiver


def letters(stage: Stage) -> list[str]:
    """Subjects of what was delivered to the one who is told."""
    found = stage.lab.get("/mail")
    return [str(each.get("subject") or each.get("Subject")) for each in found.get(MAIL, ())
            if "mailmove" in str(each.get("subject") or each.get("Subject"))]


def test_1_what_asks_a_person_is_told_once(scene: tuple[Stage, Receiver]) -> None:
    stage, receiver = scene
    for _ in range(12):  # until the first question
        code, seen = stage.command("apply", "--yes")
        if code == ExitCode.PARKED_ON_PERSON:
            break
        stage.pass_time(6 * 3600)
    assert code == ExitCode.PARKED_ON_PERSON, seen
    assert receiver.posted, seen
    told = receiver.posted[-1]
    assert told["path"] == "/hook/a-key-of-its-own"
    assert told["migration"] and "ask a person" in told["text"].splitlines()[0]
    assert any("asking" in line for line in told["new"]) and "mailmove resolve" in told["text"]
    before = len(receiver.posted)
    assert letters(stage), stage.lab.get("/mail")
    assert len(letters(stage)) == before
    for _ in range(2):
        stage.command("apply", "--yes")
    assert len(receiver.posted) == before and len(letters(stage)) == before
    history = stage.command("history")[1]
    assert f"told by mail to {MAIL}, webhook" in history and "a-key-of-its-own" not in history


def test_2_nobody_there_stops_nothing_and_is_tried_again(scene: tuple[Stage, Receiver]) -> None:
    stage, receiver = scene
    hook = stage.inventory.parent / "hook"
    hook.write_text("https://127.0.0.1:1/nobody")
    before = len(receiver.posted), len(letters(stage))
    stage.person.answer()
    stage.pass_time(3600)
    codes = []
    for _ in range(30):
        code, seen = stage.command("apply", "--yes")
        codes.append(code)
        if "Not told by webhook" in seen:
            break
        stage.person.answer()
        stage.pass_time(6 * 3600)
    assert "Not told by webhook" in seen and "nobody" not in seen.split("Not told")[1].splitlines()[0]
    assert set(codes) <= {4, 11, 12} and len(receiver.posted) == before[0]
    assert len(letters(stage)) > before[1], "the other way was taken"
