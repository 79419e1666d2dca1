"""One seed, one story: a whole migration, everything that befalls it, and what it came to.

The operators' machines, their programs, the people and the lab live in one thread on one virtual clock. Whatever
happens is drawn from the seed, so that the same seed is the same story, to its last event.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any
from unittest import mock

from jinja2.parser import Parser

from engine import app
from engine.connections import password_mark
from engine.contract import Event, ExitCode, Fault, Invalid, Outcome, Refusal
from engine.run import standing
from tests.simulation.machine import Killed, Machine, Process
from tests.simulation.observer import Violation
from tests.simulation.scenario import HORIZON_DAYS, Scenario
from tests.simulation.stage import PRODUCT, Result, Stage

#: In which nothing moves, once nothing goes wrong any more; the longest timeout of the playbooks is 30 days.
IDLE_MAX = timedelta(days=31)
#: How often a timer starts it at most, where the operator does not let it wait; how seldom while nothing comes of it,
#: and while nothing is due.
TIMER, RARELY, SELDOM = timedelta(hours=1), timedelta(days=1), timedelta(days=3)
WEEK = timedelta(weeks=1)
#: How often people look at what waits for them, and at least, even if nobody has told them of anything.
LOOK_EVERY, LOOK_AT_LEAST = timedelta(hours=1), timedelta(days=1)
#: Requests of a whole story, per mailbox and beside: a loop without an end is a broken promise (L6).
REQUESTS_BESIDE, REQUESTS_PER_MAILBOX = 60_000, 600


def watched(parse: Callable[..., None]) -> Callable[..., None]:
    """The beginning of the one parser of expressions that the program has: no outside string gets so far (S10)."""
    def begin(parser: Parser, environment: Any, source: str, *more: Any, **named: Any) -> None:
        if "271828" in source:
            raise Violation("S10", f"an outside string is compiled: {source[:80]}")
        parse(parser, environment, source, *more, **named)

    return begin


class Story(Stage):
    """One scenario carried out."""

    # ------------------------------------------------------------------------------------- what machines ask

    def pass_time(self, seconds: float) -> None:
        self._limits()
        self.lab.clock.advance(seconds)
        self._pulse()
        self.observer.judge()

    def at_step(self, process: Process, what: str) -> bool:
        """Whether the process dies here."""
        self.observer.judge()
        self.steps += 1
        self.since_start += 1
        if process.name != "apply":
            return False
        if self.led_astray and self.steps >= self.led_astray[0].step:
            self._befalls(self.led_astray.pop(0))
        if self.restarted and self.recoveries and self.since_start >= self.recoveries[0]:
            self.recoveries.pop(0)
        elif self.kills and self.steps >= self.kills[0]:
            self.kills.pop(0)
        elif self.seconds and self.steps >= self.seconds[0] and not self.nested and what != "commit":
            self.seconds.pop(0)
            self._second()
            return False
        else:
            return False
        self.observer.note("killed", what, "at step", self.steps)
        self.died = self.lab.clock.now()
        self.result.kills += 1
        return True

    def waiting(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        """The engine waits: people look, then time passes; a day at most, for people look again."""
        if self.nested:
            return
        clock = self.lab.clock
        if self.right_clock:
            self.observer.waits(until)
        self._limits()
        if self._people():
            return
        if self.edits or self.absent_until:
            raise KeyboardInterrupt  # the operator stops it to go on another day, or with another playbook
        assert self.looked_at is not None
        latest = self.looked_at + (LOOK_EVERY if self.awaited else LOOK_AT_LEAST)
        clock.move_to(min(until, latest) if until is not None else latest)
        self._pulse()
        stop_early()

    def _pulse(self) -> None:
        """Only the process that runs is awake: one that another has come in between is like a laptop that sleeps."""
        process = self.carrier.process
        if isinstance(process, Process) and process.pulse is not None:
            process.pulse.passed()

    def disk_is_full(self) -> bool:
        if self._running() != "apply":
            return False
        self.commits += 1
        if self.full and self.commits >= self.full[0].step:
            found = self.full[0]
            self.full[0] = replace(found, much=found.much - 1)
            if found.much <= 1:
                self.full.pop(0)
            self.observer.note("disk full", self.commits)
            return True
        return False

    def _limits(self) -> None:
        days = (self.lab.clock.now() - self.start).total_seconds() / 86_400
        away = sum(each.much for each in self.scenario.troubles if each.kind == "absence")
        if days > HORIZON_DAYS + away:
            raise Violation("L1", f"not ended after {days:.0f} days: {self._stuck()}")
        if sum(self.lab.counters.requests.values()) > (
                REQUESTS_BESIDE + REQUESTS_PER_MAILBOX * self.scenario.mailboxes):
            raise Violation("L6", f"{sum(self.lab.counters.requests.values()):,} requests")

    # --------------------------------------------------------------------------------------------- programs

    def _heard(self, event: Event) -> None:
        if event.kind == "parked" and event.fields.get("what") == "window":
            self.windows.add(event.fields["until"])
        if event.kind == "failed" or (event.kind == "parked" and (event.row in self.people.given_up or event.fields.get(
                "phase") in ("asking", "handed", "failed", "blocked"))):
            self.awaited = True

    def apply(self, machine: Machine, name: str = "apply", *, wait: bool) -> tuple[int, Outcome | None, str]:
        """One `mailmove apply` on a machine: exit code (-9: killed), outcome, and what it said when it refused."""
        self.since_start = 0
        if not self.nested:
            self.observer.starts()
        with machine.process(name) as (_, world):
            migration = app.Migration(self.where, self.program, self.inventory, world)
            try:
                outcome, _ = app.apply(migration, app.selection(frozenset(), frozenset(), frozenset()), wait=wait,
                                       listener=self._heard, consent=lambda plan: True)
                found: tuple[int, Outcome | None, str] = (int(outcome.exit_code), outcome, "")
            except Killed:
                found = (-9, None, "")
            except KeyboardInterrupt:
                found = (int(ExitCode.INTERRUPTED), None, "")
            except Refusal as refusal:
                found = (int(refusal.exit_code), None, f"{refusal.problem.summary}: {refusal.problem.found}")
            except Fault as fault:
                found = (int(ExitCode.SOME_FAILED), None, str(fault))
            except Invalid as invalid:
                raise Violation("L1", f"the playbook is refused: {invalid.problems[0]}") from None
        # the folder has another name each time, and is no part of the story
        self.observer.note(name, machine.host, "ended with", found[0], found[2].replace(str(self.folder), ""))
        if found[0] == -9:
            self.observer.files(self.where.state)
        if found[0] == ExitCode.LOCKED and not self.nested and found[2].startswith("another run holds"):
            self.observer.locked(self.died)
        return found

    def _second(self) -> None:
        """Another operator starts it too, in the midst of the first one's run, at the machine that is free."""
        first = self.carrier.process
        free = self.machine if isinstance(first, Process) and first.machine is self.other else self.other
        self.nested = True
        since = self.since_start
        try:
            self.observer.note("second operator")
            self.apply(free, "second", wait=False)
        finally:
            self.nested, self.since_start = False, since

    def _people(self) -> int:
        """People look, an hour after the last time; unless a run has told them of something, only once a day."""
        now, every = self.lab.clock.now(), LOOK_EVERY if self.awaited else LOOK_AT_LEAST
        if self.looked_at is not None and now - self.looked_at < every:
            return 0
        self.looked_at = now
        with self.machine.process("person") as (_, world):
            said = self.people.look(self.where, self.name, world, self.program)
        for words in self.people.said[len(self.people.said) - said:] if said else ():
            self.observer.note("person", words)
        self.awaited = not self.people.idle
        return said

    def _preview(self) -> None:
        with self.machine.process("plan") as (_, world), contextlib.suppress(Fault, Refusal):
            app.plan(app.Migration(self.where, self.program, self.inventory, world),
                     app.selection(frozenset(), frozenset(), frozenset()))

    # ---------------------------------------------------------------------------------------------- the story

    def run(self) -> Result:
        """From the first plan to the second run that finds nothing to do, or to the first promise broken."""
        result = self.result
        # What makes guessing a password slow makes nothing else: a story has hundreds of runs, and each looks.
        with (self.carrier.installed(), mock.patch.object(password_mark, "COST", 2),
              mock.patch.object(Parser, "__init__", watched(Parser.__init__))):
            try:
                self.prepare()
                self._perform()
            except Violation as violation:
                result.violation = str(violation)
            finally:
                self.carrier.process = None
                if hasattr(self, "observer"):
                    self._sum_up()
                with contextlib.suppress(Exception):
                    self.loop.finish(self.lab.close())
                self.carrier.close()
                self.loop.close()
        return result

    def _sum_up(self) -> None:
        result, lab = self.result, self.lab
        if result.violation:
            self.observer.note("violation", result.violation)
        result.days = (lab.clock.now() - self.start).total_seconds() / 86_400
        result.requests = sum(lab.counters.requests.values())
        result.events, result.effects = self.observer.events, self.observer.effects
        result.said = len(self.people.said) if hasattr(self, "people") else 0
        result.digest = self.observer.digest

    def _perform(self) -> None:
        clock, idle, alive = self.lab.clock, 0, self.lab.clock.now()
        while True:
            self._edit()
            if self.absent_until:
                clock.move_to(max(clock.now(), self.absent_until))
                self.absent_until, alive = None, clock.now()  # nobody was there to move anything
            if self.previews:
                self.previews -= 1
                self._preview()
            self.result.runs += 1
            # whom the machine has failed may go on at another one
            machine = self.other if self.restarted and self.heirs.random() < 0.4 else self.machine
            code, outcome, said = self.apply(machine, wait=self.scenario.waits)
            self.restarted = code == -9
            if code == ExitCode.CONVERGED and not self.edits:
                if not self.unplanned:
                    break
                clock.move_to(max(self.unplanned.values()))
                continue
            self._limits()
            answered = self._people() if code != -9 else 0
            if code == ExitCode.REFUSED and "budget" in said and self.budget is not None:
                self._write_budget(self.budget * 4)
                self._load()
                answered = 1
            moved = answered or code == -9 or (outcome is not None and outcome.changed)
            idle = 0 if moved else idle + 1
            alive = clock.now() if moved or not self.calm else alive
            if clock.now() - alive > IDLE_MAX:
                raise Violation("L1", f"nothing has moved since {alive:%Y-%m-%d}; the last run: {code} {said} "
                                      f"{self._stuck()}")
            clock.move_to(self._next(code, outcome, bool(answered), idle))
        self._again()

    def _next(self, code: int, outcome: Outcome | None, answered: bool, idle: int) -> datetime:
        """When somebody, or a timer, starts it again: when a row is due, and the more seldom the longer nothing comes
        of it."""
        clock = self.lab.clock
        now = clock.now()
        if code == -9:
            return now + timedelta(seconds=self.drawn.choice((1, 5, 100, 3_600, 40_000)))
        if code == ExitCode.LOCKED:
            return now + timedelta(seconds=30)
        if answered:
            return now + timedelta(minutes=1)
        due = outcome.next_wake if outcome is not None else None
        if outcome is None or self.machine.wrong_by:  # it was refused, or what it says of times is not to be believed
            return now + 2 * TIMER * 2**min(idle - 1, 2)
        if due is None:
            self._until_answered(now + LOOK_AT_LEAST)
            return clock.now() + timedelta(minutes=1)
        then = min(max(due, now + min(TIMER * 3**min(idle, 3), RARELY)), now + SELDOM)
        # a window comes back every week: it would be missed week after week
        return min([then, *(each + WEEK * max(0, (now - each) // WEEK + 1) for each in self.windows)])

    def _until_answered(self, latest: datetime) -> None:
        """All that stands still waits for people: nobody starts it before they have said something."""
        clock = self.lab.clock
        while clock.now() < latest and not self.absent_until and not self.edits:
            clock.move_to(clock.now() + LOOK_EVERY)
            if self._people():
                return

    def _stuck(self) -> str:
        self.carrier.process = None
        with self.machine.process("status") as (_, world):
            journal = app.open_journal(self.where.state / self.name, world.clock, create=False, write=False)
            try:
                rows = standing.standing_still(journal)
            finally:
                journal.close()
        return "; ".join(f"{each.phase} «{each.task}» {each.row}: {each.reason}" for each in rows[:4])

    def _again(self) -> None:
        """L3: once more, and nothing changes, here or over there."""
        self._calm()
        state, moved = self._state(), self.lab.counters.moved
        code, outcome, said = self.apply(self.machine, wait=True)
        if code != ExitCode.CONVERGED or outcome is None or outcome.changed:
            raise Violation("L3", f"a second run ended with {code} {said}, "
                                  f"{outcome.changed if outcome else '?'} changes {self._stuck()}")
        if self._state() != state or self.lab.counters.moved != moved:
            raise Violation("L3", "a second run changed the organisation")
        self.observer.end()
        self.result.ended = self._ended()
        self.observer.files(self.where.state)
        self._secrets()
        self._evaluated()

    def _state(self) -> str:
        return str(self.loop.finish(self.lab.control.digest())["digest"])

    def _ended(self) -> str:
        """The organisation's digest; what is of the mailboxes apart is left out."""
        lab, apart = self.lab, {self._at(each) for each in self.scenario.apart}
        whole = {"source": lab.organisation.state(), "tenant": lab.tenant.state(), "migration": lab.migration.state()}
        return blake2b(json.dumps(_without(apart, whole), sort_keys=True).encode(), digest_size=16).hexdigest()

    def _secrets(self) -> None:
        """S9: nothing on the operator's disk holds a secret in the clear."""
        connections = self.lab.ready["connections"]
        secrets = {connections["graph"]["client_secret"], connections["directory"]["password"],
                   connections["dns"]["update"]["secret"]}
        for path in self.where.state.rglob("*"):
            if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
                raise Violation("S9", f"{path.name} holds a secret")


    def _evaluated(self) -> None:
        """S10: nobody's name was worked out, here or over there, and it stands there as it was given."""
        seen = [path.read_bytes().decode(errors="replace") for path in self.where.state.rglob("*") if path.is_file()]
        tenant = self.lab.tenant
        seen += [str(tenant.state()), str(tenant.transport.messages), str(self.lab.organisation.delivered)]
        if any(str(PRODUCT) in text for text in seen):
            raise Violation("S10", "somebody's name was evaluated")


def _without(apart: set[str], state: Any) -> Any:
    """What stands under one of these addresses, in a mapping or a list, taken out."""
    if isinstance(state, Mapping):
        return {name: _without(apart, each) for name, each in state.items() if name not in apart}
    if isinstance(state, list | tuple):
        return [_without(apart, each) for each in state
                if not (each in apart if isinstance(each, str) else isinstance(each, tuple) and apart & set(each))]
    return state


@contextlib.contextmanager
def folder_in_memory() -> Iterator[Path]:
    """An empty folder, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="mailmove-simulation-", dir=memory if memory.is_dir() else None))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def tell(scenario: Scenario, *, tell: bool = False) -> Result:
    """The story of a scenario, and – where it must end as without troubles – of its calm twin (L4)."""
    with folder_in_memory() as folder:
        return Story(scenario, folder, tell=tell).run()
