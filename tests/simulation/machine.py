"""The machine of a simulated operator: its clock, its disk, and the processes that run and die on it.

A step is the connecting, sending or receiving of bytes on a line, the beginning or the end of a write to the
journal, and the parts of which the writing of another file is made: everything that the world outside a process can
see of it, or that survives it. A process may be killed at any of them. What then still unwinds in Python reaches
nothing any more: its lines are cut, its disk refuses.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from engine.lab.clock import Clock as LabClock
from engine.world import InlineWorkers, World
from tests.simulation.carrier import Carrier


class Killed(BaseException):
    """SIGKILL, as far as one process can do it to a part of itself."""


@dataclass
class Process:
    """One run of a program on a machine. `at`: called at each step with its number and kind, and may raise Killed."""

    name: str
    machine: Machine
    alive: bool = True
    pulse: MachinePulse | None = None

    def step(self, what: str, data: bytes = b"") -> None:
        if not self.alive:
            raise Killed
        if self.machine.at_step(self, what):
            if what == "sent":
                self.machine.carrier.loop.settle()  # what has left is dealt with
            self.die()
            raise Killed

    def die(self) -> None:
        self.alive = False
        self.machine.carrier.drop(self)


class Database(sqlite3.Connection):
    """The journal's file as its process writes it: a transaction is there whole after COMMIT has returned, or not.

    synchronous and journal mode are the machine's affair here: what was committed stays, as EXTRA promises.
    """

    machine: Machine
    process: Process | None

    def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
        if self.process is not None and sql[:5] in ("BEGIN", "COMMI", "PRAGM"):
            if sql.startswith("PRAGMA journal_mode"):
                sql = "PRAGMA journal_mode=MEMORY"
            elif sql.startswith("PRAGMA synchronous"):
                sql = "PRAGMA synchronous=OFF"
            elif sql == "COMMIT" and self.in_transaction and self.total_changes != self._before:
                if self.machine.disk_is_full():
                    super().execute("ROLLBACK")
                    raise sqlite3.OperationalError("database or disk is full")
                self.process.step("commit")
                found = super().execute(sql)
                self.machine.committed(self)
                self.process.step("committed")
                return found
            elif sql == "BEGIN IMMEDIATE":
                self._before = self.total_changes
        if self.process is not None and not self.process.alive:
            raise Killed
        return super().execute(sql, *rest)

    _before = 0


class MachineClock:
    """The operator's clock: the true time and what it is wrong by. Waiting is the story's affair."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def now(self) -> datetime:
        return self.machine.true.now() + self.machine.wrong_by

    def sleep(self, seconds: float) -> None:
        self.machine.pass_time(seconds)

    def wait(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        if not stop_early():
            self.machine.waiting(until - self.machine.wrong_by if until is not None else None, stop_early)


class MachinePulse:
    """The sign of life of a run: it beats whenever so much time has passed in its process, whatever that is at."""

    def __init__(self, process: Process, seconds: float, beat: Callable[[], None]) -> None:
        self._process, self._beat = process, beat
        self._every = timedelta(seconds=seconds)
        self._last = process.machine.true.now()
        process.pulse = self

    def passed(self) -> None:
        """Time has passed."""
        now = self._process.machine.true.now()
        if now - self._last >= self._every:
            self._last = now
            with contextlib.suppress(Exception):  # the driver meets the same at its next step
                self._beat()

    def close(self) -> None:
        self._process.pulse = None


@dataclass
class Machine:
    """One operator's machine. The callbacks are the story's: what happens at a step, in a wait, on a write."""

    host: str
    user: str
    true: LabClock
    carrier: Carrier
    random: random.Random
    pass_time: Callable[[float], None]
    at_step: Callable[[Process, str], bool]
    waiting: Callable[[datetime | None, Callable[[], bool]], None]
    disk_is_full: Callable[[], bool]
    committed: Callable[[Database], None]
    #: a file is put in another's place, whole: its path and what it holds
    replaced: Callable[[Path, bytes], None]
    environment: dict[str, str] = field(default_factory=dict)
    wrong_by: timedelta = timedelta()
    #: beyond the largest number that a real process of this machine can have: to the engine, it is gone when looked for
    process_id: int = 5_000_000

    @contextlib.contextmanager
    def process(self, name: str) -> Iterator[tuple[Process, World]]:
        """A process of this machine, the running one of the carrier meanwhile; gone afterwards."""
        self.process_id += 1
        process = Process(name, self)
        before = self.carrier.process
        self.carrier.process = process
        connect = sqlite3.connect

        def opened(*args: Any, **options: Any) -> sqlite3.Connection:
            found = connect(*args, **{**options, "factory": Database})
            found.machine, found.process = self, process
            return found

        world = World(clock=MachineClock(self), random=self.random, environment={"USER": self.user},
                      workers=lambda: InlineWorkers(self.random), process_id=self.process_id, host=self.host,
                      machine=f"{self.host} since it was started",
                      pulse=lambda seconds, beat: MachinePulse(process, seconds, beat))  # type: ignore[arg-type, return-value]
        sync, rename = os.fsync, os.replace

        def synced(handle: int) -> None:
            process.step("sync")
            sync(handle)

        def renamed(old: Any, new: Any, **options: Any) -> None:
            process.step("rename")
            self.replaced(Path(new), Path(old).read_bytes())
            rename(old, new, **options)
            process.step("renamed")

        try:
            with (mock.patch.object(sqlite3, "connect", opened), mock.patch.object(os, "fsync", synced),
                  mock.patch.object(os, "replace", renamed)):
                yield process, world
        finally:
            process.die()
            self.carrier.process = before
