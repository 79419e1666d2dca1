"""The simulator: one seed is one story, its carrier is a wire, its observer has teeth, what it finds is made short."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import trustme
from jinja2 import Environment
from jinja2.parser import Parser

from tests.simulation.carrier import Carrier
from tests.simulation.loop import Loop
from tests.simulation.observer import Violation
from tests.simulation.scenario import Scenario, Trouble, draw
from tests.simulation.shrinking import shrunk
from tests.simulation.stage import Result
from tests.simulation.story import Story, folder_in_memory, tell, watched

TELL = """
import json, logging
from dataclasses import replace
from tests.simulation.scenario import draw
from tests.simulation.story import tell
logging.disable(logging.CRITICAL)
for seed in {seeds}:
    result = tell(draw(seed, {size}))
    print(json.dumps([result.digest, result.events, result.violation]))
"""


def told(seeds: list[int], size: int, hash_seed: str) -> str:
    """The stories of these seeds, told in a process of their own."""
    return subprocess.run([sys.executable, "-c", TELL.format(seeds=seeds, size=size)], check=True, text=True,
                          stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": hash_seed}).stdout


def calm(size: int = 2) -> Scenario:
    return replace(draw(3, size).calm(), mailboxes=size, type="staged", exchange="2007", waits=True)


def test_the_same_seed_is_the_same_story_in_every_process() -> None:
    one, two = (told([2, 15], 3, hash_seed) for hash_seed in ("1", "2"))
    assert one == two
    assert len(set(one.splitlines())) == 2, "different seeds tell different stories"


def test_what_is_due_at_this_very_moment_is_run() -> None:
    """Found with seed 15: of a time since 1970 a float tells no nanosecond, and the loop turned without an end."""
    asked, done = iter(range(1_000)), []
    loop = Loop(lambda: 1_795_628_592.0 + 0 * next(asked))
    loop.call_at(1_795_628_592.0, done.append, "due")
    loop.settle()
    assert done == ["due"]
    loop.close()


def test_a_clock_that_was_ten_years_ahead_for_a_day_puts_off_no_wait() -> None:
    """Found by the simulation: what was noted of the wrong clock carried its time, and journal time never goes back."""
    scenario = replace(calm(1), type="cutover", exchange="2010", waits=False, troubles=(
        Trouble("clock jump", day=1.0, much=24 * 3652.5, lasts=8.0),))
    found = tell(scenario)
    assert (found.violation, found.days < 20) == ("", True)


@pytest.mark.parametrize("days", [61.0, 155.0])
def test_nobody_there_until_the_service_stops_or_removes_a_batch_whose_people_are_converted(days: float) -> None:
    result = tell(replace(calm(), troubles=(Trouble("absence", day=3.0, much=days),)))
    assert not result.violation


def test_a_conversion_under_way_keeps_its_place_while_a_person_has_it_in_hands() -> None:
    """Found with 40 mailboxes: typed by a person, the first was told to wait for its turn, and another was begun; both
    then waited for each other, and a run that was to wait ended."""
    found = tell(replace(calm(), diligence=1.0))
    assert (found.violation, found.runs) == ("", 1)


# ----------------------------------------------------------------------------------------------------- carrier


@pytest.fixture
def wire() -> Iterator[tuple[Loop, list[float]]]:
    """A loop whose time is moved by those who wait in vain, with the seconds they waited."""
    waited: list[float] = []
    loop = Loop(lambda: sum(waited))
    carrier = Carrier(loop, waited.append)
    with carrier.installed():
        yield loop, waited
    carrier.close()
    loop.close()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def listen(loop: Loop, talk: Talk, **options: Any) -> int:
    async def start() -> int:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, **options)
        return int(server.sockets[0].getsockname()[1])

    return int(loop.finish(start()))


def test_bytes_come_in_order_and_an_end_is_an_end(wire: tuple[Loop, list[float]]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"you said " + await reader.readline())
        writer.close()

    line = socket.create_connection(("lab", listen(wire[0], talk)), 5)
    line.sendall(b"this ")
    line.sendall(b"and that\n")
    stream = line.makefile("rb")
    assert stream.read() == b"you said this and that\n"
    assert wire[1] == []


def test_silence_lasts_as_long_as_one_is_willing_to_wait(wire: tuple[Loop, list[float]]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    line = socket.create_connection(("lab", listen(wire[0], talk)), 7.5)
    with pytest.raises(TimeoutError):
        line.recv(10)
    assert wire[1] == [7.5]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("lab", 1), 5)


def test_tls_that_begins_on_an_open_line_is_the_real_one(wire: tuple[Loop, list[float]]) -> None:
    authority = trustme.CA()
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mail.contoso.com").configure_cert(here)
    there = ssl.create_default_context()
    authority.configure_trust(there)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(here)
        writer.write(await reader.readline())
        await writer.drain()

    port = listen(wire[0], talk)
    line = there.wrap_socket(socket.create_connection(("lab", port), 5), server_hostname="mail.contoso.com")
    line.sendall(b"quietly\n")
    assert (line.recv(100), line.version()) == (b"quietly\n", "TLSv1.3")
    with pytest.raises(ssl.SSLCertVerificationError):
        there.wrap_socket(socket.create_connection(("lab", port), 5), server_hostname="mail.fabrikam.com")


# ---------------------------------------------------------------------------------------------------- observer


@pytest.mark.parametrize(("promise", "effect"), [
    ("S7", lambda story: story.lab.counters.effect("endpoint/another create")),
    ("S4", lambda story: [story.lab.counters.effect("domain/contoso.com add") for _ in range(2)]),
])
def test_what_nobody_meant_to_do_is_seen(promise: str, effect: Callable[[Story], None]) -> None:
    with folder_in_memory() as folder:
        story = Story(calm(), folder)
        with story.carrier.installed():
            story.prepare()
            with story.machine.process("apply"), story.lab.counters.request("exo New-MigrationEndpoint"):
                story.observer.consents = 1
                story.observer.open[b"1"] = ("domain/contoso.com", "contoso.com", "tenant_domain")
                effect(story)
            with pytest.raises(Violation, match=promise):
                story.observer.judge()
        story.carrier.close()


def test_mail_that_moves_too_early_is_seen() -> None:
    with folder_in_memory() as folder:
        story = Story(calm(), folder)
        with story.carrier.installed():
            story.prepare()
            zone = story.lab.organisation.dns
            names = list(story.lab.organisation.domains)
            with pytest.raises(Violation, match="S1"):
                story.observer._all_there(names[0], "S1", fresh=True)
            assert zone.names() == names
        story.carrier.close()


def test_what_is_half_written_locked_or_taken_for_an_expression_is_seen() -> None:
    with folder_in_memory() as folder:
        story = Story(calm(), folder)
        with story.carrier.installed():
            story.prepare()
            exports = story.where.state / "acme" / "exports"
            exports.mkdir(parents=True)
            (exports / "batch.csv").write_bytes(b"whole")
            with pytest.raises(Violation, match="S18"):
                story.observer.files(story.where.state)
            story.observer.replaced(exports / "batch.csv", b"whole")
            story.observer.files(story.where.state)
            died = story.lab.clock.now() - timedelta(seconds=91)
            for each in (died, None):
                with pytest.raises(Violation, match="L5"):
                    story.observer.locked(each)
            story.observer.locked(died + timedelta(seconds=1))
            names = [row["name"] for row in story.rows["mailboxes"]]
            assert "{{ 271828 * 314159 }}" in names
            with mock.patch.object(Parser, "__init__", watched(Parser.__init__)):
                Environment().parse("{{ row.name }}")
                with pytest.raises(Violation, match="S10"):
                    Environment().parse(names[0])
        story.carrier.close()


# --------------------------------------------------------------------------------------------------- shrinking


def test_a_failing_story_is_made_short() -> None:
    kill, edit, storm = Trouble("kill", step=90), Trouble("edit", 2.0), Trouble("storm", 3.0, much=0.5, lasts=2.0)
    long = replace(draw(1, 500), mailboxes=500, troubles=(kill, edit, storm))

    def telling(scenario: Scenario) -> Result:
        broken = kill in scenario.troubles and scenario.mailboxes >= 4
        return Result(scenario, "S4: twice" if broken else "")

    found = shrunk(telling(long), telling).scenario
    assert (found.troubles, 4 <= found.mailboxes <= 8) == ((kill,), True)
