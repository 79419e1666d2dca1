"""Any migration, any faults: what must hold at each act, and that it arrives once the faults end.

A playbook, the order of jobs, faults, kills, pauses and people's words are drawn from a seed; the remote side is
`memory.Remote`. Nothing here knows how the engine does it: each act is judged from what the journal on disk and the
clock say at that moment. More seeds: `python -m tests.run.test_any_migration --seeds 1000`.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from engine.contract import Denied, Diff, ExitCode, InDoubt, Refusal, Unreachable
from engine.run import standing, words
from engine.run.journal import Journal, Record
from tests.run.conftest import INVENTORY, Migration
from tests.run.memory import Letter, Thing

ROWS = ("anna@acme.example", "bo@acme.example", "cem@acme.example")
#: What a task may be: its text, and what it is called.
TASKS = (
    ("set", 'thing: {{name: "{n}-{{{{ target }}}}"}}'),
    ("made", 'ladder: {{name: "{n}-{{{{ target }}}}", state: created}}'),
    ("started", 'ladder: {{name: "{n}-{{{{ target }}}}", state: started}}'),
    ("letter", 'letter: {{id: "l{n}", to: "{{{{ target }}}}"}}'),
)
APPROVAL = 'approval: {{id: "go{n}", question: "Go {n}?"}}'
#: Runs once nothing goes wrong any more.
RUNS_MAX = 40
WAIT_HOURS = 5
#: An act that failed for want of an answer is not tried again sooner.
PAUSE_MIN = timedelta(minutes=1)
#: So often a thing may be tried before a person is asked.
TRIES_MAX = 8
#: Nor more often than this before it has failed, or a person has said something.
TRIES_MAX = 9


class KilledError(BaseException):
    """What SIGKILL does to the process, as far as one process can do it to itself."""


class Story:
    """One migration by its seed, and what was wrong in it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.fate = random.Random(seed)
        self.wrong: list[str] = []
        self.windowed: set[str] = set()
        self.waits: dict[str, str] = {}
        self.approvals: dict[str, str] = {}
        self.expected: list[tuple[str, str]] = []
        (folder / "inventory.yml").write_text(INVENTORY, encoding="utf-8")
        self.migration = Migration(folder, seed=seed)
        self.migration.write(self.playbook())
        self.faults = True
        self.tries: dict[str, list[datetime]] = defaultdict(list)
        self.kill_in = 0
        self.acts = 0
        self.refusals = 0
        #: what was made and does not show yet: key → its state and when it shows
        self.hidden: dict[str, tuple[dict[str, Any], datetime]] = {}

    def playbook(self) -> str:
        lines = ["- name: P", "  targets: mailboxes", "  tasks:"]
        for n in range(self.fate.randint(2, 5)):
            word, text = self.fate.choice(TASKS)
            key = {"set": "thing", "made": "ladder", "started": "ladder", "letter": "letter"}[word]
            name = f"{key}/l{n}" if key == "letter" else f"{key}/{n}"
            if self.fate.random() < 0.25:
                lines += [f"    - name: Go {n}", "      " + APPROVAL.format(n=n)]
                self.approvals[name] = f"P / Go {n}"
            self.expected += [(name, row) for row in ROWS]
            lines += [f"    - name: T{n}", "      " + text.format(n=n), f"      register: r{n}"]
            if self.fate.random() < 0.25 and n and name not in self.approvals:
                lines.append(f'      not_before: "{{{{ r{n - 1}.held_since + hours({WAIT_HOURS}) }}}}"')
                self.waits[name] = f"P / T{n - 1}"
            if self.fate.random() < 0.25:
                lines.append("      window: night")
                self.windowed.add(name)
        return "\n".join(lines) + "\n"

    # ------------------------------------------------------------------------------------------ judged at each act

    def judge(self, module: Thing | Letter, diff: Diff) -> None:
        key, now = module.key(), self.migration.clock.now()
        name, row = key.rpartition("/")[0] if key.startswith("letter/") else key.partition("-")[0], key
        self.acts += 1
        with closing(Journal.open(self.migration.folder / "state", self.migration.clock, create=False,
                                  write=False)) as journal:
            records = list(journal.records())
            consented = journal.consents()
        mine = [record for record in records if record.key == key]
        row = mine[-1].row if mine else ""
        if not mine or mine[-1].kind != "intent":
            self.bad(f"{key}: no intent is on disk when it is done, but {mine[-1].kind if mine else 'nothing'}")
            return
        if mine[-1].fence != max(record.fence or 0 for record in records):
            self.bad(f"{key}: its intent has an old fence")
        if mine[-1].identity not in consented and not self._later(consented, mine):
            self.bad(f"{key}: nobody has consented to it")
        if name in self.windowed and not self._night(now):
            self.bad(f"{key}: done outside its window, {now}")
        if name in self.waits:
            held = self._held_since(records, self.waits[name], row)
            if held is None or now < held + timedelta(hours=WAIT_HOURS):
                self.bad(f"{key}: done before its wait was over, {now}, held since {held}")
        if name in self.approvals and not any(
                each.kind == "approved" and each.task == self.approvals[name] and each.row == row and each.at
                and (each.at >= now - timedelta(hours=24) or name in self.windowed) for each in records):
            first = next((each.at for each in mine if each.kind == "intent"), now)
            if first == mine[-1].at:  # what was begun goes on without a new word
                self.bad(f"{key}: done without a valid approval")
        if self._held(records, row):
            self.bad(f"{key}: done while it is on hold")
        self._tries(key, now, records)

    @staticmethod
    def _held_since(records: list[Record], task: str, row: str) -> datetime | None:
        """Since the first look that was well after the last that was not; looks that failed say nothing."""
        held = None
        for each in records:
            if (each.task, each.row) == (task, row):
                held = (held or each.at) if each.kind == "settled" else None if each.kind == "unsettled" else held
        return held

    def _tries(self, key: str, now: datetime, records: list[Record]) -> None:
        """Between two tries lies a pause, unless a person or a new run wanted to know at once."""
        tries = self.tries[key]
        intents = [each.seq for each in records if each.key == key and each.kind == "intent"]
        if tries and len(intents) > 1 and now - tries[-1] < PAUSE_MIN and not any(
                each.kind in ("run", "retried", "resolved") and intents[-2] < each.seq for each in records):
            self.bad(f"{key}: tried again after {now - tries[-1]}")
        tries.append(now)
        asked = max((each.seq for each in records if each.kind in ("retried", "resolved")), default=0)
        if sum(seq > asked for seq in intents) > TRIES_MAX:
            self.bad(f"{key}: tried {len(intents)} times, and nobody was asked (L6)")

    @staticmethod
    def _later(consented: set[bytes], mine: list[Record]) -> bool:
        """An act whose meaning was known later, or is done again, has a token of another form."""
        return any(len(token) != 16 for token in consented)

    @staticmethod
    def _night(now: datetime) -> bool:
        return (now.weekday() == 4 and now.hour >= 20) or (now.weekday() == 5 and now.hour < 6)

    @staticmethod
    def _held(records: list[Record], row: str) -> bool:
        held = set()
        for each in records:
            if each.kind == "held":
                held.add(each.row)
            elif each.kind == "released":
                held.discard(each.row)
        return "" in held or row in held

    def bad(self, what: str) -> None:
        if what not in self.wrong:
            self.wrong.append(what)

    # ------------------------------------------------------------------------------------------ what befalls it

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Acts are judged, and go wrong; the journal's writes may be the process's last."""
        story = self

        def watching(apply: Any) -> Any:
            def acting(module: Any, site: Any, diff: Diff) -> Any:
                story.judge(module, diff)
                story._strike()
                try:
                    answer = apply(module, site, diff)
                except InDoubt:
                    story._hide(module.key(), diff)
                    raise
                except (Denied, Unreachable):
                    story.refusals += 1
                    raise
                story._strike()
                if story.faults and isinstance(module, Letter) and story.fate.random() < 0.2:
                    raise KilledError  # it is sent, and nobody has written it down
                return answer
            return acting

        append = Journal.append

        def writing(journal: Journal, records: Any) -> int:
            story._strike()
            seq = append(journal, records)
            story._strike()
            return seq

        with patch.object(Thing, "apply", watching(Thing.apply)), patch.object(
                Letter, "apply", watching(Letter.apply)), patch.object(Journal, "append", writing):
            yield

    def _hide(self, key: str, diff: Diff) -> None:
        """What was made with its answer lost shows only after a while, less than the visibility bound."""
        if diff.verb == "create" and key.startswith("ladder/") and self.fate.random() < 0.6:
            shows = self.migration.clock.now() + timedelta(minutes=9)
            self.hidden[key] = (self.migration.remote.things.pop(key), shows)

    def _show(self) -> None:
        for key, (state, when) in list(self.hidden.items()):
            if self.migration.clock.now() >= when:
                self.migration.remote.things.setdefault(key, state)
                del self.hidden[key]

    def _strike(self) -> None:
        if self.kill_in:
            self.kill_in -= 1
            if not self.kill_in:
                raise KilledError

    def run(self) -> ExitCode | None:
        """One run; None: it was killed."""
        remote = self.migration.remote
        self._show()
        self.kill_in = self.fate.randint(1, 25) if self.faults and self.fate.random() < 0.3 else 0
        if self.faults:
            for key in [f"{family}/{n}-{row}" for family in ("thing", "ladder") for n in range(5) for row in ROWS]:
                if self.fate.random() < 0.2:
                    remote.act_faults[key] = [self.fate.choice((
                        Unreachable("memory", "no answer"), InDoubt("memory", "lost"), Denied("memory", "no")))
                        for _ in range(self.fate.randint(1, 3))]
                if self.fate.random() < 0.06:  # for long
                    remote.act_faults[key] = [Unreachable("memory", "no answer") for _ in range(60)]
            remote.read_faults = {f"thing/{n}-{row}": Unreachable("memory", "down") for n in range(5) for row in ROWS
                                  if self.fate.random() < 0.05}
        else:
            remote.act_faults, remote.read_faults = {}, {}
        with self.watched():
            try:
                return ExitCode(self.migration.run(
                    consent=lambda plan: self.fate.random() < 0.8 or not self.faults).exit_code)
            except KilledError:
                return None
            except Refusal as refusal:
                self.bad(f"refused: {refusal.problem.summary}")
                return None

    def people(self) -> None:
        with closing(self.migration.journal()) as journal:
            if self.faults and self.fate.random() < 0.15:
                row = self.fate.choice(ROWS)
                if not self._held(list(journal.records()), row) and any(True for _ in journal.rows(names=(row,))):
                    words.hold(journal, rows=(row,), by="kim", reason="drawn")
            for row in ROWS:
                if self._held(list(journal.records()), row) and (not self.faults or self.fate.random() < 0.5):
                    words.release(journal, rows=(row,), by="kim", reason="drawn")
            for each in list(standing.parked(journal)):
                if self.faults and self.fate.random() < 0.3:
                    continue
                if each.phase == "asking" and each.what == "approval":
                    words.approve(journal, task=each.task, rows=(each.row,), by="kim")
                elif each.phase == "asking" and each.what == "doubt":
                    sent = each.key in self.migration.remote.things
                    words.resolve(journal, task=each.task, rows=(each.row,), by="kim", done=sent)
                elif each.phase == "failed":
                    words.retry(journal, task=each.task, rows=(each.row,), by="kim")

    def time_passes(self) -> None:
        clock = self.migration.clock
        if self.hidden and self.fate.random() < 0.7:  # the next run comes before it shows
            clock.time += timedelta(minutes=2)
            return
        hours = self.fate.choice((0.02, 0.3, 1, 6, 30))
        clock.time += timedelta(hours=hours)
        if not self.faults or self.fate.random() < 0.2:  # to the next night, so that windows open now and then
            days = (4 - clock.time.weekday()) % 7
            clock.time = max(clock.time, (clock.time + timedelta(days=days)).replace(hour=21, minute=0))

    def play(self) -> list[str]:
        """The whole story: with faults, then without; what was wrong."""
        for _ in range(self.fate.randint(4, 12)):
            self.run()
            self.people()
            self.time_passes()
        self.faults = False
        for _ in range(RUNS_MAX):
            if self.run() == ExitCode.CONVERGED:
                break
            self.people()
            self.time_passes()
        else:
            self.bad("it does not arrive")
            return self.wrong
        things = self.migration.remote.things
        for name, row in self.expected:
            if f"{name}-{row}" not in things and f"{name}/{row}" not in things:
                self.bad(f"{name} of {row} is not there, and nobody says so")
        before = (dict(self.migration.remote.things), Counter(self.migration.remote.effects))
        with self.watched():
            again = self.migration.run(consent=None)
        if again.changed or before != (self.migration.remote.things, self.migration.remote.effects):
            self.bad("a run of what is done changed something")
        for effect, count in self.migration.remote.effects.items():
            if effect.endswith((" send", " create")) and count > 1:
                self.bad(f"{effect}: {count} times")
        with closing(self.migration.journal()) as journal:
            for problem in journal.verify():
                self.bad(problem.found)
            self._protocol(list(journal.records()))
        return self.wrong

    def _protocol(self, records: list[Record]) -> None:
        """intent → result → settled, for each thing, and each word of the engine under a fence that does not fall."""
        fences = [each.fence for each in records if each.fence is not None]
        if fences != sorted(fences):
            self.bad("fences fall")
        at = [each.at for each in records if each.at]
        if at != sorted(at):
            self.bad("journal time falls")
        last: dict[bytes, str] = {}
        parked: dict[bytes, object] = {}
        tried: Counter[bytes] = Counter()
        for each in records:
            body = each.body
            shown = (body.get("phase"), body.get("what"), body.get("reason")) if each.kind == "parked" else None
            if shown and parked.get(each.identity) == shown and each.identity:
                self.bad(f"{each.key}: parked twice running for the same reason, {shown}")
            if each.identity:
                parked[each.identity] = shown
            if each.kind == "intent":
                tried[each.identity] += 1
                if tried[each.identity] > TRIES_MAX:
                    self.bad(f"{each.key}: tried {tried[each.identity]} times, and never given up")
            elif each.kind in ("failed", "settled", "retried"):
                tried[each.identity] = 0
            if each.kind == "result" and last.get(each.identity) != "intent":
                self.bad(f"{each.key}: a result after {last.get(each.identity)}")
            if each.kind == "settled" and each.body.get("acted") and last.get(each.identity) is None:
                self.bad(f"{each.key}: said to be ours, and no intent is known")
            if each.kind in ("intent", "result", "settled", "unsettled"):
                last[each.identity] = each.kind
        noted = sum(1 for each in records if each.kind == "result" and not each.body.get("ok"))
        if self.refusals > 3 and not noted:
            self.bad(f"{self.refusals} acts were refused, and no record says so")
        for identity, kind in last.items():
            if kind != "settled" and any(each.identity == identity and each.task.startswith("P / T")
                                         for each in records):
                self.bad(f"{kind} is the last of an instance of a migration that has converged")


SEEDS = 12


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_any_migration_keeps_the_rules_and_arrives(seed: int, tmp_path: Path) -> None:
    assert Story(tmp_path, seed).play() == []


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=200)
    arguments.add_argument("--first", type=int, default=1)
    arguments.add_argument("--stop", action="store_true", help="at the first violation")
    given = arguments.parse_args()
    began, bad, acts = time.monotonic(), 0, 0
    for seed in range(given.first, given.first + given.seeds):
        with tempfile.TemporaryDirectory(prefix="mailmove-any-") as temporary:
            story = Story(Path(temporary), seed)
            wrong = story.play()
            acts += story.acts
            bad += bool(wrong)
            for line in wrong:
                print(f"violation: seed {seed}: {line}", flush=True)
        if wrong and given.stop:
            return 1
    print(f"{bad} violations / {given.seeds} migrations ({acts:,} acts judged), seeds {given.first} to "
          f"{given.first + given.seeds - 1}, {time.monotonic() - began:.0f} seconds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
