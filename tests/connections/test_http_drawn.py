"""Any service, any calls: what a connection keeps to however it is answered, judged by what arrives at it and when.

Answers are drawn from a seed – good, throttled with a pause and without, broken, lost – and calls follow each other
with drawn pauses. Nothing here knows how the client counts: requests are judged by their time on the clock alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from engine.connections.http import Http
from engine.contract import InDoubt, Unreachable
from tests.connections.cloud_server import Cloud, Reply, Seen, running

CALLS = 12
#: A call is over after this, whatever happens: somebody waits for it, and the run has other rows.
CALL_MAX = timedelta(minutes=10)
REQUESTS_MAX = 6
SEEDS = 24


class Service:
    """Answers by fate, and notes what it heard, when, and how long it asked to be left alone."""

    def __init__(self, fate: random.Random, cloud: Cloud) -> None:
        self.fate = fate
        self.bad = fate.choice((0.3, 0.7, 0.95))
        self.heard: list[datetime] = []
        self.quiet_until: datetime | None = None
        self.wrong: list[str] = []
        #: the latest answer says nothing of whether the request was carried out
        self.open = False
        site = cloud.site()
        self.clock = site.world.clock
        self.url = cloud.origin + "/x"
        self.http = Http("graph", cloud.settings(), site)
        cloud.answer = self.answer

    def answer(self, seen: Seen) -> Reply:
        now = self.clock.now()
        if self.quiet_until is not None and now < self.quiet_until:
            self.wrong.append(f"asked {self.quiet_until - now} before the pause it was told was over")
        self.heard.append(now)
        if self.open and seen.method == "POST":
            self.wrong.append("a write that may have been carried out was sent again")
        self.open = False
        if self.fate.random() > self.bad:
            return Reply(200, {})
        status = self.fate.choice((429, 429, 503, 503, 500, 502, 504, 0))
        if status in (429, 503) and self.fate.random() < 0.6:
            seconds = self.fate.choice((1, 20, 90, 400, 3_000))
            self.quiet_until = now + timedelta(seconds=seconds)
            return Reply(status, None, {"Retry-After": str(seconds)})
        self.open = status not in (429, 503)
        return Reply(status)

    def call(self) -> None:
        write, began, first = self.fate.random() < 0.4, self.clock.now(), len(self.heard)
        self.open = False
        try:
            self.http.call("POST" if write else "GET", self.url, write=write)
            ended = "answered"
        except InDoubt:
            ended = "in doubt"
        except Unreachable:
            ended = "out of reach"
        mine = self.heard[first:]
        if len(mine) > REQUESTS_MAX:
            self.wrong.append(f"{len(mine)} requests for one call")
        if mine and mine[-1] > began + CALL_MAX:
            self.wrong.append(f"still asking {mine[-1] - began} after it began")
        if self.clock.now() > began + CALL_MAX:
            self.wrong.append(f"waited {self.clock.now() - began}")
        if any(after - before < timedelta(seconds=1) for before, after in pairwise(mine)):
            self.wrong.append("asked again at once")
        if mine and self.open and write != (ended == "in doubt"):
            self.wrong.append(f"write {write}, its answer lost: {ended}")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("cloud")) as found:
        yield found


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_a_connection_keeps_to_what_it_is_told_and_to_its_own_bounds(cloud: Cloud, seed: int) -> None:
    fate = random.Random(seed)
    service = Service(fate, cloud)
    for _ in range(CALLS):
        service.call()
        service.clock.sleep(fate.choice((0, 1, 30, 500)))
    assert service.wrong == []
    assert service.heard
