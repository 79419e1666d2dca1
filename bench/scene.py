"""A small organisation in the lab, and whole `mailmove apply` processes against it: for rigs of several operators."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from engine import app
from engine.cli import main as mailmove
from engine.contract import Refusal
from engine.lab import generate
from engine.laboratory import Lab, Start, Workplace
from engine.people import Person
from engine.rehearse import organisation, twice, write_inventory
from engine.world import World

#: How an apply may end where several of them run: nothing is wrong with any of these. -9: the rig killed it.
ENDS = frozenset({0, 4, 7, 8, 11, 12, -9})
#: One apply that takes longer hangs.
APPLY_SECONDS_MAX = 300


class Apply:
    """One `mailmove apply --yes` as a process of its own."""

    def __init__(self, start: Start, words: Sequence[str], output: Path, user: str,
                 entry: Sequence[str] = ("engine",)) -> None:
        """entry: the program's module, and words of its own before the command."""
        self.output = output
        with output.open("wb") as out:
            self.process = start([*entry, "apply", *words, "--yes", "--json"], out, None,
                                 {**os.environ, "USER": user, "LOGNAME": user})

    def wait(self) -> int:
        """Its exit code. TimeoutError when it hangs."""
        code: int | None = self.process.wait(APPLY_SECONDS_MAX)
        if code is None:
            raise TimeoutError(f"{self.output.name} has not ended after {APPLY_SECONDS_MAX} seconds")
        return code

    def stopped(self) -> bool:
        """Whether it stands still (SIGSTOP), by the kernel's word."""
        try:
            state = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            return False
        return state.rpartition(")")[2].split()[0] == "T"

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def outcome(self) -> Mapping[str, Any]:
        """The last event it told; {} when it was refused or killed."""
        for line in reversed(self.output.read_text(encoding="utf-8").splitlines()):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") == "outcome":
                return event
        return {}

    def words(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")


class Scene:
    """One migration in the lab, from its first run on."""

    def __init__(self, folder: Path, lab: Lab, playbook: Path, inventory: Path, start: Start) -> None:
        self._start = start
        self.folder, self.lab = folder, lab
        world = World()
        self.place = app.place(playbook, inventory, folder / "state", world)
        self.words = [str(playbook), "-i", str(inventory), "--state", str(folder / "state")]
        self._runs = 0

        def command(argv: Sequence[str]) -> tuple[int, str, str]:
            out, err = io.StringIO(), io.StringIO()
            return mailmove(argv, out, err, world), out.getvalue(), err.getvalue()

        self.command = command
        self.person = Person(command, ["-p", *self.words], Workplace(lab, lab.ready["connections"]["directory"]))

    def apply(self, user: str = "anna", *, stop_at_intent: int = 0) -> Apply:
        """stop_at_intent: it stops itself behind so many writes of intents, before the requests these announce."""
        self._runs += 1
        stopping = ("bench.dying_engine", str(stop_at_intent))
        return Apply(self._start, self.words, self.folder / f"apply-{self._runs}.jsonl", user,
                     stopping if stop_at_intent else ("engine",))

    def now(self) -> datetime:
        return datetime.fromisoformat(self.lab.get("/clock")["now"])

    def go_on(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        """People answer what is asked, and time goes on to when the next row is due, or an hour where none says.

        Ten minutes at least: a row that is looked at every minute is no reason for a round that finds nothing to do.
        """
        self.person.answer()
        wakes = [datetime.fromisoformat(str(each["next_wake"])) for each in outcomes if each.get("next_wake")]
        seconds = (min(wakes) - self.now()).total_seconds() if wakes else 3600.0
        self.lab.post("/clock/advance", seconds=max(600.0, min(seconds, 3600.0 * 24)))

    def moved(self) -> int:
        """Requests so far that changed something over there."""
        return int(self.lab.get("/counters")["moved"])

    def arrived(self) -> int:
        """Requests so far, of any kind but the clock's."""
        return int(self.lab.get("/counters")["arrived"])

    def held_by(self, process: Apply) -> bool:
        """Whether it is the one that may act, by the journal, and has not written yet that it has ended."""
        try:
            journal = app.reading(self.place, World())
            try:
                holder = journal.holder(self.now()) or {}
                if holder.get("pid") != str(process.process.pid):
                    return False
                ends = [record.at for record in journal.records(kinds=("ended",)) if record.at is not None]
                return not ends or ends[-1] < datetime.fromisoformat(holder["since"])
            finally:
                journal.close()
        except Refusal:  # it stands still in the middle of a write
            return True

    def done_twice(self) -> list[str]:
        history = [json.loads(line) for line in self.command(["history", "-p", *self.words, "--json"])[1].splitlines()]
        return list(twice(self.lab.get("/counters")["effects"], history))

    def digest(self) -> str:
        return str(self.lab.get("/state/digest")["digest"])


@contextmanager
def scene(folder: Path, seed: int, start: Start, mailboxes: int = 3) -> Iterator[Scene]:
    """A staged company of so many mailboxes, its lab running, nothing applied yet. `start`: of every process."""
    company = folder / "company"
    generate.write(generate.company(generate.Order("staged", mailboxes, seed=1)), company)
    world = World()
    migration = app.load(app.place(company, None, folder / "unused", world), {}, world)
    stage = folder / "stage"
    stage.mkdir()
    with Lab(stage, organisation(migration), seed=seed, faults="none", environment=world.environment,
             start=start) as lab:
        inventory = write_inventory(migration.place.inventory, lab.ready, stage)
        yield Scene(stage, lab, migration.place.playbook, inventory, start)
