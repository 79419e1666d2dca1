"""One playbook of the matrix: enumerated, rehearsed with kills, judged; and what is guilty when it goes wrong."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO

from bench.kill_matrix.ledger import AFTER, ANSWERED, BEFORE, Ledger, point, said, whens
from bench.kill_rig import violations
from bench.warm_start import Forked, WarmStart
from engine import app
from engine.lab import generate
from engine.rehearse import Rehearsal, rehearse
from engine.world import World

#: Where the inventory of a generated company says how its directory is reached.
BY_LDAP = "    tls: ldaps\n"
CONVERTED = "The source mailbox is a mail user that points to the cloud"


@dataclass(frozen=True)
class Subject:
    """What is rehearsed: type, release at the source, the organisation's seed, and the undo that ends it."""

    kind: str
    exchange: str
    seed: int
    undo: Sequence[str] = ()


PLAYBOOKS = {
    "staged-2003": Subject("staged", "2003", 1), "staged-2007": Subject("staged", "2007", 1),
    "undo-2007": Subject("staged", "2007", 5, ("--task", CONVERTED, "--reason", "the matrix")),
    "cutover-2007": Subject("cutover", "2007", 1), "cutover-2010": Subject("cutover", "2010", 1),
    "cutover-2013": Subject("cutover", "2013", 1)}
MAILBOXES = 3
SEED = 1
#: Whether it is a write, and how the point lies to it → in words.
BOUNDARIES = {(False, BEFORE): "before a request", (False, AFTER): "before its answer",
              (False, ANSWERED): "behind its answer", (True, BEFORE): "before a write", (True, AFTER): "behind it"}
#: Passes in a row that meet no point. (An engine may end by itself before it can be killed behind its last answer.)
FRUITLESS_MAX = 3
#: More kills than a pass can have points.
DEATHS = 1_000_000


def identity(name: str) -> str:
    """A point's short name on a command line."""
    return blake2b(name.encode(), digest_size=4).hexdigest()


@dataclass
class Pass:
    """One rehearsal with kills: the points it met, and what was wrong at its end."""

    struck: Sequence[str]
    wrong: Sequence[str]


class Ledgered:
    """A Start whose lab and engines keep a ledger; of a playbook that ends with an undo, only the undo does."""

    def __init__(self, start: WarmStart, ledger: Path, undo: bool) -> None:
        self._start, self._ledger, self._undo = start, str(ledger), undo
        self._started: list[Forked] = []

    def __call__(self, words: Sequence[str], stdout: IO[bytes] | None, stderr: IO[bytes] | None,
                 environment: Mapping[str, str]) -> Forked:
        module, *rest = words
        if module == "engine.lab":
            words = ["bench.kill_matrix.lab", self._ledger, *rest]
        elif (rest[0] == "undo") == self._undo:
            words = ["bench.kill_matrix.engine", self._ledger, *rest]
        self._started.append(self._start(words, stdout, stderr, environment))
        return self._started[-1]

    def killed(self) -> frozenset[int]:
        """Of all that were started, those that SIGKILL has ended."""
        return frozenset(each.pid for each in self._started if each.poll() == -signal.SIGKILL)


class Matrix:
    """One playbook: its undisturbed rehearsal, the acts it had, and rehearsals with kills."""

    def __init__(self, name: str, folder: Path, start: WarmStart) -> None:
        self.name, self.subject, self.folder, self._start = name, PLAYBOOKS[name], folder, start
        company = folder / name
        generate.write(generate.company(generate.Order(
            self.subject.kind, MAILBOXES, seed=self.subject.seed, exchange=self.subject.exchange)), company)
        self.playbook = company / "playbook.yml"
        if self.subject.undo:  # taken back by the engine's own writes, not by a person's
            inventory = company / "inventory.yml"
            text = inventory.read_text(encoding="utf-8")
            assert BY_LDAP in text
            inventory.write_text(text.replace(BY_LDAP, f"{BY_LDAP}    conversion: ldap\n"), encoding="utf-8")
        self.whole, _, lost = self._rehearsed([], "undisturbed")
        if not self.whole.well or lost:
            raise SystemExit(f"{name}: the undisturbed rehearsal is not well: "
                             f"{[*lost, *self.whole.last_words] or self.whole.parked or self.whole}")
        # an undo that finds nothing to do writes no record: its acts have the names of the one before it
        self.acts = list(dict.fromkeys(Ledger(folder / "undisturbed" / "ledger").acts()))

    def points(self) -> list[str]:
        return [point(act, when) for act in self.acts for when in whens(act)]

    def passed(self, points: Sequence[str]) -> Pass:
        """A rehearsal that is killed at each of these that it comes to."""
        try:
            found, struck, wrong = self._rehearsed(points, "killed")
            wrong += violations(found, self.whole)
            if _standing(found) != _standing(self.whole):
                wrong.append("the tasks stand elsewhere than undisturbed")
            if found.kills != len(struck):
                wrong.append(f"{len(struck)} points were met, but {found.kills} engines died")
        except Exception as error:  # a rehearsal that cannot go on is a result of the rig, not the end of it
            wrong = [f"{type(error).__name__}: {error}"]
            struck = [each for _, each in Ledger(self.folder / "killed" / "ledger").struck()]
        shutil.rmtree(self.folder / "killed", ignore_errors=True)
        return Pass(struck, wrong)

    def guilty(self, points: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """The fewest of these points with which a rehearsal goes wrong, by halves, and what is wrong then."""
        wrong: Sequence[str] = ()
        while len(points) > 1:
            middle = len(points) // 2
            for half in (points[:middle], points[middle:]):
                if found := self.passed(half).wrong:
                    points, wrong = half, found
                    break
            else:
                break
        return points, wrong

    def _rehearsed(self, points: Sequence[str], name: str) -> tuple[Rehearsal, list[str], list[str]]:
        """The rehearsal, the points it met, and the durable records that its journal does not show."""
        folder, world = self.folder / name, World()
        folder.mkdir(parents=True)
        ledger = Ledger.make(folder / "ledger", points)
        migration = app.load(app.place(self.playbook, None, folder / "state", world), {}, world)
        start = Ledgered(self._start, ledger.folder, bool(self.subject.undo))
        found = rehearse(migration, seed=SEED, faults="none", kills=[], folder=folder, extra_vars={}, screen=None,
                         world=world, start=start, deaths=DEATHS, undo=self.subject.undo)
        ledger.close()
        journal = app.open_journal(folder / "state" / str(migration.program.settings["migration"]), world.clock,
                                   create=False, write=False)
        try:
            lost = Counter(ledger.shown()) - Counter(said([record]) for record in journal.records())
        finally:
            journal.close()
        dead = start.killed()
        # lab and engine may strike the same one within a moment: the second point is left for another pass
        met = {pid: each for pid, each in reversed(ledger.struck()) if pid in dead}
        struck = [each for _, each in ledger.struck() if each in met.values()]
        return found, struck, [f"lost from the journal: {record}" for record in lost]


def _standing(found: Rehearsal) -> list[tuple[str, str]]:
    return [(str(task["name"]), json.dumps(task["counts"], sort_keys=True)) for task in found.tasks]


def run(matrix: Matrix, points: Sequence[str], *, stop: bool) -> tuple[int, int, int]:
    """Passes until every point was met: violations, points met, passes. Prints what goes wrong; with `stop`, no more
    is done then."""
    left, bad, passes, fruitless = dict.fromkeys(points), 0, 0, 0
    while left:
        found = matrix.passed(list(left))
        passes += 1
        fruitless = 0 if found.struck else fruitless + 1
        if fruitless == FRUITLESS_MAX:
            break  # what is left is not met any more
        for each in found.struck:
            left.pop(each, None)
        if found.wrong:
            bad += 1
            if stop:
                print(f"violation: {matrix.name}: {'; '.join(found.wrong)}", flush=True)
                return bad, len(points) - len(left), passes
            guilty, wrong = matrix.guilty(found.struck)
            print(f"violation: {matrix.name}: {'; '.join(wrong or found.wrong)}", flush=True)
            for each in guilty[:10]:
                print(f"    killed at: {each}", flush=True)
            print(f"    repeat: python -m bench.kill_matrix --playbook {matrix.name} "
                  f"{' '.join(f'--at {identity(each)}' for each in guilty)}", flush=True)
        print(f"    {matrix.name}: pass {passes}, {len(found.struck)} points met, {len(left)} left", flush=True)
    for each in list(left)[:10]:
        print(f"violation: {matrix.name}: never met: {each}", flush=True)
    return bad + len(left), len(points) - len(left), passes


def kinds(points: Sequence[str]) -> str:
    """How many of each kind of boundary."""
    counts = Counter(BOUNDARIES[each.startswith("write "), each.rpartition(" | ")[2]] for each in points)
    return ", ".join(f"{counts[boundary]:,} {boundary}" for boundary in BOUNDARIES.values())
