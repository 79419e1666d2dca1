"""The people of a story: they look at what stands still, and say what the public words allow, sooner or later."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine import app
from engine.contract import Program, Refusal
from engine.people import Desk
from engine.run import standing, words
from engine.run.journal import Journal
from engine.run.standing import ParkedRow
from engine.world import World

RETRIES = 2
#: The guard that stands before the end of a batch of which a mailbox was given up.
OVERRIDDEN = "batch_removed"
#: A script is typed at every other look, for what was just typed may need a while to show; and not for ever.
TYPED_MAX = 12


@dataclass
class People:
    drawn: random.Random
    desk: Desk
    #: the share of looks at which they answer
    diligence: float
    said: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    #: rows of which something was waived: what stands still of them later is waived too
    given_up: set[str] = field(default_factory=set)
    #: rows met once that lack a value; met again so, they are answered as `status` says
    _lacking: set[tuple[str, str]] = field(default_factory=set)
    #: at the last look there was nothing for them to say or to type
    idle: bool = False
    _retried: Counter[tuple[str, str]] = field(default_factory=Counter)
    _typed: Counter[str] = field(default_factory=Counter)

    def look(self, where: app.Place, name: str, world: World, program: Program) -> int:
        """Answers what is asked; how many things were said or typed."""
        self.idle = False
        if self.drawn.random() >= self.diligence:
            return 0
        self.idle, before = True, len(self.said)
        journal = app.open_journal(where.state / name, world.clock, create=False)
        try:
            if journal.path is not None:
                self._answer(journal, program)
        finally:
            journal.close()
        said = len(self.said) - before
        self.idle = self.idle and not said
        return said

    def _answer(self, journal: Journal, program: Program) -> None:
        asked: dict[tuple[str, str], list[ParkedRow]] = {}
        for each in standing.standing_still(journal):
            if each.answer:
                continue
            if each.phase == "handed" and each.handover.get("text") and each.row not in self.given_up:
                self.idle = False
                self._type(each.handover)
            elif verb := self._verb(each):
                asked.setdefault((verb, each.task), []).append(each)
        for (verb, task), rows in asked.items():
            named: dict[str, list[str]] = {}
            for each in rows:
                typed = str(each.ask.get("typed") or "") if verb == "approve" else ""
                named.setdefault(typed, []).append(each.row)
            for typed, names in named.items():
                self._say(journal, verb, task, names, typed, program)

    def _verb(self, each: ParkedRow) -> str:
        if each.phase == "asking":
            return {"approval": "approve", "checklist": "done", "doubt": "redo"}.get(each.what, "")
        if each.row in self.given_up and each.phase in ("waiting", "blocked", "handed", "failed"):
            return "waive"
        if each.phase == "failed" and "timeout has passed" in each.reason:
            return "waive"  # it was given time enough
        if each.phase == "failed":
            self._retried[each.task, each.row] += 1
            return "retry" if self._retried[each.task, each.row] <= RETRIES else "waive"
        if each.what == "guard" and each.reason.startswith(OVERRIDDEN) and any(
                row in each.reason for row in self.given_up):
            return "override"  # what is left of that mailbox at the source has been looked after by hand
        if (each.phase, each.what) == ("blocked", "unknown"):
            if (each.task, each.row) in self._lacking:
                return "waive"
            self._lacking.add((each.task, each.row))
            self.idle = False
        return ""

    def _say(self, journal: Journal, verb: str, task: str, rows: list[str], typed: str, program: Program) -> None:
        given: Mapping[str, Any] = {"task": task, "rows": rows, "by": "people"}
        try:
            match verb:
                case "approve":
                    words.approve(journal, **given, reason="simulated", typed=typed)
                case "done":
                    words.resolve(journal, **given, done=True, evidence="seen in the simulation")
                case "redo":
                    words.resolve(journal, **given, done=False, evidence="looked: it was not done")
                case "retry":
                    words.retry(journal, **given, reason="looked at it")
                case "override":
                    words.override(journal, guard=OVERRIDDEN, rows=rows, by="people", reason="it was given up")
                case "waive":
                    words.waive(journal, **given, reason="still fails after two tries", program=program,
                                with_followers=True)
                    self.given_up.update(row for row in rows if "@" in row)
        except Refusal as refusal:
            self.refused.append(f"{verb} «{task}» {rows[:3]}: {refusal.problem.summary}; {refusal.problem.found}")
            return
        self.said.append(f"{verb} «{task}» {len(rows)} row(s), first {rows[0]}")

    def _type(self, handover: Mapping[str, str]) -> None:
        text = handover["text"]
        times = self._typed[text]
        self._typed[text] += 1
        if times % 2 or times >= TYPED_MAX:
            return
        if handover["kind"] == "powershell":
            self.desk.type_powershell(text)
        elif handover["kind"] in ("dns", "internal_dns"):
            self.desk.enter_records(text, handover["kind"])
        self.said.append(f"typed «{handover['title']}»")
