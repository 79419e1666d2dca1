"""After a storm of "too many requests" a connection works again as fast as it may, within two pauses it was told.

The service takes one request after the other, a second each; how much it took is counted on the clock alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from engine.connections.http import BACK_OFF_SECONDS_MAX, Http
from engine.contract import Unreachable
from tests.connections.cloud_server import START, Cloud, Reply, Seen, running

#: The share of what the service would take that has to be asked of it again.
SHARE = 0.8
A_REQUEST = timedelta(seconds=1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("storm")) as found:
        yield found


@pytest.mark.parametrize("told", [True, False], ids=["told how long", "not told how long"])
@pytest.mark.parametrize("seed", range(6))
def test_after_a_storm_it_is_as_fast_as_before_within_two_pauses(cloud: Cloud, seed: int, told: bool) -> None:
    fate = random.Random(seed)
    pause = timedelta(seconds=fate.choice((20, 60, 150)) if told else BACK_OFF_SECONDS_MAX)
    ends = START + timedelta(seconds=fate.uniform(5, 1_500))
    site = cloud.site()
    clock = site.world.clock
    taken: list[datetime] = []

    def answer(seen: Seen) -> Reply:
        if clock.now() < ends:
            pauses = {"Retry-After": str(fate.randint(1, int(pause.total_seconds())))} if told else {}
            return Reply(fate.choice((429, 503)), None, pauses)
        clock.sleep(A_REQUEST.total_seconds())
        taken.append(clock.now())
        return Reply(200, {})

    cloud.answer = answer
    http = Http("graph", cloud.settings(), site)
    while clock.now() < ends + 2 * pause:
        try:
            http.call("GET", f"{cloud.origin}/x", write=False)
        except Unreachable:
            clock.sleep(1)  # somebody else's row is next
    second = [each for each in taken if ends + pause < each <= ends + 2 * pause]
    assert len(second) >= SHARE * (pause / A_REQUEST)
