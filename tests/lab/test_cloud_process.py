"""The lab as a process on real sockets: ready line, sign-in with msal, clock, kill switch, lost answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from cloud_stand import TENANT_ID, description

Start = Callable[..., dict[str, Any]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts labs and answers their ready lines; all are ended afterwards."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> dict[str, Any]:
        file = tmp_path / "organisation.json"
        file.write_text(json.dumps(description()))
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.lab", "--organisation", str(file), "--folder", str(tmp_path / "lab"),
             "--seed", "5", *options], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return dict(json.loads(process.stdout.readline()))

    yield run
    for process in started:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def signed_in(ready: dict[str, Any], name: str = "graph") -> requests.Session:
    """A session with a token that msal has fetched, as the engine does."""
    import msal

    settings = ready["connections"][name]
    session = requests.Session()
    session.trust_env = False
    session.verify = settings["ca_file"]
    app = msal.ConfidentialClientApplication(
        settings["client_id"], client_credential=settings["client_secret"], authority=settings["authority"],
        http_client=session, validate_authority=False, instance_discovery=False)
    answer = app.acquire_token_for_client([f"{settings['url']}/.default"])
    assert "access_token" in answer, answer
    session.headers["Authorization"] = f"Bearer {answer['access_token']}"
    return session


def post(ready: dict[str, Any], path: str, **body: Any) -> dict[str, Any]:
    return dict(requests.post(f"{ready['control']}{path}", json=body, timeout=30).json())


def get(ready: dict[str, Any], path: str) -> dict[str, Any]:
    return dict(requests.get(f"{ready['control']}{path}", timeout=30).json())


def test_msal_signs_in_and_both_services_answer_over_kept_connections(start: Start) -> None:
    ready = start()
    graph, url = signed_in(ready), ready["connections"]["graph"]["url"]
    assert [graph.get(f"{url}/v1.0/domains").status_code for _ in range(3)] == [200] * 3
    parts = [{"id": str(n), "method": "GET", "url": path} for n, path in enumerate((
        "/users?$select=id,mail&$top=5", "/users/nobody%40contoso.com"))]
    batch = graph.post(f"{url}/v1.0/$batch", json={"requests": parts}).json()["responses"]
    assert [part["status"] for part in batch] == [200, 404]
    exo = signed_in(ready, "exchange_online")
    said = exo.post(f"{ready['connections']['exchange_online']['url']}/adminapi/beta/{TENANT_ID}/InvokeCommand",
                    json={"CmdletInput": {"CmdletName": "Get-AcceptedDomain"}})
    assert said.json()["value"][0]["DomainName"] == "contoso.onmicrosoft.com"
    counted = get(ready, "/counters")
    assert counted["requests"]["graph GET /domains"] == 3 and counted["requests"]["graph GET /users"] == 1
    assert counted["requests"]["exo Get-AcceptedDomain"] == 1 and counted["moved"] == 0

    post(ready, "/clock/advance", seconds=3600)
    assert graph.get(f"{url}/v1.0/domains").status_code == 401
    assert graph.get(f"{url}/v1.0/domains", headers={"Authorization": "Bearer x"}).status_code == 401


def test_an_open_clock_moves_on_when_it_is_waited_for(start: Start) -> None:
    ready = start()
    assert get(ready, "/clock")["now"] == "2026-11-02T07:00:00+00:00"
    assert post(ready, "/clock/wait", until="2026-11-05T07:00:00Z")["now"] == "2026-11-05T07:00:00+00:00"
    assert post(ready, "/clock/wait", until=None)["now"] == "2026-11-05T07:00:00+00:00"
    assert get(ready, "/clock/pending") == {"waiting": None}


def test_a_gated_clock_holds_a_wait_until_it_is_granted(start: Start) -> None:
    ready = start("--gated")
    answers: list[dict[str, Any]] = []

    def wait() -> None:
        answers.append(post(ready, "/clock/wait", until="2026-11-03T07:00:00+00:00"))

    for move, now in ((False, "2026-11-02T07:00:00+00:00"), (True, "2026-11-03T07:00:00+00:00")):
        waiter = threading.Thread(target=wait)
        waiter.start()
        while get(ready, "/clock/pending")["waiting"] is None:
            pass
        assert get(ready, "/clock/pending")["waiting"] == {"until": "2026-11-03T07:00:00+00:00"}
        assert post(ready, "/clock/grant", move=move)["granted"] is True
        waiter.join(10)
        assert answers.pop()["now"] == now
    with pytest.raises(requests.Timeout):  # a waiter that dies is forgotten
        requests.post(f"{ready['control']}/clock/wait", json={"until": None}, timeout=0.2)
    for _ in range(100):
        if get(ready, "/clock/pending")["waiting"] is None:
            break
    assert get(ready, "/clock/pending") == {"waiting": None}


@pytest.mark.parametrize(("when", "acted"), [("before", False), ("after", True), ("answered", True)])
def test_the_kill_switch_strikes_at_the_named_request_and_moment(start: Start, when: str, acted: bool) -> None:
    ready = start()
    graph, url = signed_in(ready), ready["connections"]["graph"]["url"]
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert post(ready, "/kill", pid=victim.pid, at=2, when=when) == {"armed": True}
        graph.get(f"{url}/v1.0/domains")
        assert victim.poll() is None
        with suppress(requests.ConnectionError):
            graph.post(f"{url}/v1.0/domains", json={"id": "fabrikam.com"})
        assert victim.wait(10) == -signal.SIGKILL
    finally:
        victim.kill()
        victim.wait()
    assert ("domain/fabrikam.com add" in get(ready, "/counters")["effects"]) == acted
    assert "error" in post(ready, "/kill", pid=1, at=1, when="before")
    assert "error" in post(ready, "/kill", pid=ready["pid"], at=1, when="before")


def test_a_dropped_answer_closes_the_connection_after_the_act(start: Start) -> None:
    ready = start()
    graph, url = signed_in(ready), ready["connections"]["graph"]["url"]
    post(ready, "/fault", kind="drop", match="graph POST /domains")
    with pytest.raises(requests.ConnectionError):
        graph.post(f"{url}/v1.0/domains", json={"id": "fabrikam.com"})
    assert graph.get(f"{url}/v1.0/domains/fabrikam.com").status_code == 200
    assert get(ready, "/counters")["moved"] == 1


def test_the_digest_is_the_same_for_the_same_seed_and_stop_ends_it(start: Start) -> None:
    first, second = start(), start()
    assert get(first, "/state/digest") == get(second, "/state/digest")
    said = post(first, "/desk", script="Set-EntraDirSyncEnabled -EnableDirSync $false", user="", password="")
    assert said["ok"]
    post(first, "/clock/advance", seconds=3 * 3600)
    assert get(first, "/state/digest") != get(second, "/state/digest")
    assert get(first, "/mail") == {}
    assert post(first, "/stop") == {"stopped": True}
