"""What one call does when the service throttles, breaks, loses answers, or says no."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.connections.clock import RemoteClock
from engine.connections.http import Http, retry_after
from engine.connections.tokens import Tokens
from engine.contract import Denied, InDoubt, Rejected, Unreachable
from tests.connections.cloud_server import START, Cloud, Reply, running


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path) as found:
        yield found


def client(cloud: Cloud, *, tokens: bool = True) -> Http:
    site = cloud.site()
    http = Http("graph", cloud.settings(), site, rights="Domain.Read.All")
    if tokens:
        http.tokens = Tokens("graph", cloud.settings(), site, f"{cloud.origin}/.default")
    http.clock = site.world.clock  # type: ignore[attr-defined]
    return http


def test_an_answer_is_parsed_and_carries_the_request_id(cloud: Cloud) -> None:
    cloud.in_turn(Reply(200, {"value": 1}, {"request-id": "r-1"}))
    answer = client(cloud).call("GET", cloud.origin + "/x", write=False)
    assert answer.data == {"value": 1} and answer.request_id == "r-1"
    assert cloud.seen[0].headers["Authorization"] == "Bearer token-number-1"
    assert len(cloud.seen[0].headers["client-request-id"]) == 36


def test_never_before_retry_after_also_not_from_another_call(cloud: Cloud) -> None:
    http = client(cloud)
    cloud.in_turn(Reply(429, None, {"Retry-After": "90"}), Reply(200, {}))
    http.call("POST", cloud.origin + "/x", write=True)
    assert http.clock.now() == START + timedelta(seconds=90)  # type: ignore[attr-defined]
    http.hold_back(30)
    http.call("GET", cloud.origin + "/x", write=False)
    assert http.clock.now() == START + timedelta(seconds=120)  # type: ignore[attr-defined]


def test_retry_after_as_a_date_is_measured_on_the_servers_clock() -> None:
    headers = {"Retry-After": "Mon, 02 Nov 2026 07:02:00 GMT", "Date": "Mon, 02 Nov 2026 07:00:30 GMT"}
    assert retry_after(headers, START) == 90.0
    assert retry_after({"Retry-After": "soon"}, START) is None


def test_a_pause_longer_than_the_budget_is_handed_up(cloud: Cloud) -> None:
    cloud.in_turn(Reply(429, None, {"Retry-After": "3000"}))
    http = client(cloud)
    with pytest.raises(Unreachable) as caught:
        http.call("GET", cloud.origin + "/x", write=False)
    assert caught.value.retry_after == 3000 and len(cloud.seen) == 1
    with pytest.raises(Unreachable):  # and no other call goes out meanwhile
        http.call("GET", cloud.origin + "/x", write=False)
    assert len(cloud.seen) == 1


def test_six_tries_and_no_more(cloud: Cloud) -> None:
    cloud.in_turn(Reply(503))
    with pytest.raises(Unreachable):
        client(cloud).call("GET", cloud.origin + "/x", write=False)
    assert len(cloud.seen) == 6


@pytest.mark.parametrize("status", [0, 500, 502, 504])
def test_a_write_whose_answer_is_lost_is_in_doubt_and_sent_once(cloud: Cloud, status: int) -> None:
    cloud.in_turn(Reply(status), Reply(200, {}))
    with pytest.raises(InDoubt):
        client(cloud).call("POST", cloud.origin + "/x", write=True, body={"a": 1})
    assert len(cloud.seen) == 1


@pytest.mark.parametrize("status", [0, 500, 502, 504])
def test_a_read_whose_answer_is_lost_is_asked_again(cloud: Cloud, status: int) -> None:
    cloud.in_turn(Reply(status), Reply(200, {"ok": True}))
    assert client(cloud).call("GET", cloud.origin + "/x", write=False).data == {"ok": True}


def test_a_cut_answer_to_a_write_is_in_doubt(cloud: Cloud) -> None:
    cloud.in_turn(Reply(200, raw=b"<html>"))
    with pytest.raises(InDoubt):
        client(cloud).call("POST", cloud.origin + "/x", write=True)


def test_nobody_listening_is_unreachable_even_for_a_write(cloud: Cloud) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable):
        client(cloud, tokens=False).call("POST", f"https://127.0.0.1:{port}/x", write=True)


def test_an_unknown_certificate_is_refused(cloud: Cloud) -> None:
    settings = {**cloud.settings(), "ca_file": None}
    http = Http("graph", settings, cloud.site())
    with pytest.raises(Rejected) as caught:
        http.call("GET", cloud.origin + "/x", write=False)
    assert "certificate" in str(caught.value) and cloud.seen == []


def test_plain_text_and_redirects_are_refused(cloud: Cloud) -> None:
    http = client(cloud)
    with pytest.raises(Rejected):
        http.call("GET", "http://127.0.0.1:9/x", write=False)
    cloud.in_turn(Reply(302, None, {"Location": cloud.origin + "/elsewhere"}))
    with pytest.raises(Rejected) as caught:
        http.call("GET", cloud.origin + "/x", write=False)
    assert "redirect" in caught.value.text and len(cloud.seen) == 1


def test_a_refused_token_is_renewed_once_then_denied(cloud: Cloud) -> None:
    http = client(cloud)
    cloud.in_turn(Reply(401), Reply(200, {}))
    http.call("POST", cloud.origin + "/x", write=True)
    assert [each.headers["Authorization"] for each in cloud.seen] == ["Bearer token-number-1", "Bearer token-number-2"]
    cloud.in_turn(Reply(401, {"error": {"code": "InvalidAuthenticationToken", "message": "no"}}))
    with pytest.raises(Denied):
        http.call("GET", cloud.origin + "/x", write=False)
    assert len(cloud.seen) == 4


def test_a_wrong_secret_is_denied_and_never_shown(cloud: Cloud) -> None:
    cloud.secret = "another"
    with pytest.raises(Denied) as caught:
        client(cloud).call("GET", cloud.origin + "/x", write=False)
    assert "AADSTS7000215" in str(caught.value) and "correct horse" not in str(caught.value)


def test_a_busy_sign_in_service_is_waited_for_even_before_a_write(cloud: Cloud) -> None:
    cloud.in_turn(Reply(200, {}))
    cloud.sign_in_busy = 2
    http = client(cloud)
    http.call("POST", cloud.origin + "/x", write=True)
    assert http.clock.now() == START + timedelta(seconds=40) and len(cloud.seen) == 1  # type: ignore[attr-defined]


def test_forbidden_names_the_right_and_a_refusal_keeps_code_and_words(cloud: Cloud) -> None:
    error = {"error": {"code": "Authorization_RequestDenied", "message": "Insufficient privileges"}}
    cloud.in_turn(Reply(403, error, {"request-id": "r-2"}))
    with pytest.raises(Denied) as denied:
        client(cloud).call("GET", cloud.origin + "/x", write=False)
    assert "Domain.Read.All" in denied.value.remedy and denied.value.request_id == "r-2"
    cloud.in_turn(Reply(400, {"error": {"code": "Request_BadRequest", "message": "no Bearer abcdefghijkl here"}}))
    with pytest.raises(Rejected) as rejected:
        client(cloud).call("POST", cloud.origin + "/x", write=True)
    assert rejected.value.code == "400 Request_BadRequest" and "abcdefghijkl" not in rejected.value.text


def test_a_huge_answer_is_cut_off(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.connections.http.ANSWER_BYTES_MAX", 100_000)
    cloud.in_turn(Reply(200, raw=b'"' + b"x" * 300_000 + b'"'))
    with pytest.raises(Rejected):
        client(cloud).call("GET", cloud.origin + "/x", write=False)
    assert len(cloud.seen) == 1


def test_a_next_page_on_another_host_is_not_called(cloud: Cloud) -> None:
    http = client(cloud)
    assert http.follow(cloud.origin, cloud.origin + "/next") == cloud.origin + "/next"
    with pytest.raises(Rejected):
        http.follow(cloud.origin, "https://example.com/next")


# ------------------------------------------------------------------------------------------ the remote clock


class _Owner(BaseHTTPRequestHandler):
    time = START
    asked: list[str] = []  # noqa: RUF012

    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        type(self).asked.append(self.path)
        if self.path == "/clock/advance":
            type(self).time += timedelta(seconds=body["seconds"])
        if self.path == "/clock/wait" and body["until"]:
            type(self).time = max(self.time, START.fromisoformat(body["until"]))
        out = json.dumps({"now": self.time.isoformat()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


def test_the_remote_clock_moves_only_when_it_is_asked_to() -> None:
    _Owner.time, _Owner.asked = START, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Owner)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        clock = RemoteClock(f"http://127.0.0.1:{server.server_address[1]}")
        assert clock.now() == clock.now() == START and _Owner.asked == ["/clock"]
        clock.sleep(5)
        clock.wait(START + timedelta(hours=72), lambda: False)
        assert clock.now() == START + timedelta(hours=72)
        clock.wait(START + timedelta(days=9), lambda: True)
        clock.wait(START, lambda: False)
        assert _Owner.asked == ["/clock", "/clock/advance", "/clock/wait"]
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(Unreachable):
        RemoteClock("http://127.0.0.1:9").now()
