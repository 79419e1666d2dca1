"""The person of a rehearsal: reads `status --json`, answers what is asked with the public commands, types scripts.

An actor, not a door of its own: what it can do, a user can do with the same words. It decides nothing cleverly. It
approves, confirms checklists, types what was handed over, tries a failed row again twice and then waives it with what
cannot be done without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.contract import ExitCode, Problem, Refusal

NAME = "rehearsal"
#: A failed row is tried again this often before it is waived.
RETRIES = 2
#: The same answer to the same question, before somebody has to look why it does not help.
REPEATS_MAX = 6


class Desk(Protocol):
    """Where a person types what mailmove may not: the source's shell, the DNS host's web page."""

    def type_powershell(self, script: str) -> str: ...

    def enter_records(self, text: str, connection: str) -> str: ...


@dataclass
class Person:
    """`command` runs one mailmove command line and answers (exit code, standard output, standard error)."""

    command: Callable[[Sequence[str]], tuple[int, str, str]]
    where: Sequence[str]  # -p, -i and --state, as every command takes them
    desk: Desk
    said: list[str] = field(default_factory=list)
    #: by text: how often the engine has looked since it was typed, and its last look
    _typed: dict[str, tuple[int, str]] = field(default_factory=dict)
    _asked: dict[tuple[str, str], int] = field(default_factory=dict)
    _retried: dict[tuple[str, str], int] = field(default_factory=dict)
    #: rows met once that lack a value; met again so, they are answered as `status` says
    _lacking: set[tuple[str, str]] = field(default_factory=set)

    def status(self) -> Mapping[str, Any]:
        """Where the migration stands, as `status --json` says it."""
        code, out, err = self.command(["status", *self.where, "--json"])
        if code != ExitCode.CONVERGED:
            raise Refusal(ExitCode(code), Problem("the rehearsal's person cannot read the status", found=err.strip()))
        return json.loads(out)  # type: ignore[no-any-return]

    def answer(self) -> int:
        """Answers everything that is asked now; how many things were said or typed."""
        before = len(self.said)
        parked: Sequence[Mapping[str, Any]] = self.status()["parked"]
        for row in parked:
            if row["phase"] == "asking" and not row.get("answer"):
                self._count(str(row["task"]), str(row["row"]))
        for words in self._answers(parked):
            self._say(words)
        for row in parked:
            if row["phase"] == "handed" and row.get("handover"):
                self._type(row["handover"], str(row.get("seen") or ""))
        return len(self.said) - before

    def _answers(self, parked: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
        """One command for all rows of a task that want the same answer."""
        approve: dict[str, list[str]] = {}
        confirm: dict[str, list[str]] = {}
        groups: set[tuple[str, str]] = set()
        for row in parked:
            task, key, ask = str(row["task"]), str(row["row"]), row.get("ask") or {}
            if row.get("answer"):
                continue  # said already; the engine has not looked yet
            if row["phase"] == "asking" and row["what"] in ("approval", "guard"):
                group = str(ask.get("group") or "")
                if ask.get("typed"):
                    yield ["approve", task, key, "--typed", str(ask["typed"]), "--reason", "rehearsed"]
                elif not group:
                    approve.setdefault(task, []).append(key)
                elif (task, group) not in groups:  # one word covers the whole group
                    groups.add((task, group))
                    yield ["approve", task, group, "--reason", "rehearsed"]
            elif row["phase"] == "asking" and row["what"] == "doubt":
                yield ["resolve", task, key, "--redo", "--evidence", "looked: it was not done"]
            elif row["phase"] == "asking":
                confirm.setdefault(task, []).append(key)
            elif row["phase"] == "failed":
                tried = self._retried.get((task, key), 0)
                self._retried[task, key] = tried + 1
                yield (["retry", task, key, "--reason", "looked at it in the rehearsal"] if tried < RETRIES else
                       ["waive", task, key, "--with-followers", "--reason",
                        f"still fails after {tried} tries: {row['reason']}"])
            elif (row["phase"], row["what"]) == ("blocked", "unknown"):
                if (task, key) in self._lacking:
                    yield ["waive", task, key, "--with-followers", "--reason", str(row["reason"])]
                self._lacking.add((task, key))
        for task, keys in approve.items():
            yield ["approve", task, *keys, "--reason", "rehearsed"]
        for task, keys in confirm.items():
            yield ["resolve", task, *keys, "--done", "--evidence", "confirmed in the rehearsal"]

    def _count(self, task: str, row: str) -> None:
        self._asked[task, row] = self._asked.get((task, row), 0) + 1
        if self._asked[task, row] > REPEATS_MAX:
            raise Refusal(ExitCode.PARKED_ON_PERSON, Problem(
                "an answer does not help", found=f"{row} has asked «{task}» {REPEATS_MAX} times.",
                remedy="The journal says why.", next_command=f"mailmove why {row}"))

    def _say(self, words: Sequence[str]) -> None:
        verb, *rest = words
        code, _, err = self.command([verb, *rest, *self.where, "--by", NAME])
        if code != ExitCode.CONVERGED:
            raise Refusal(ExitCode(code), Problem(f"«{' '.join(words[:3])}» was refused", found=err.strip()))
        rows = [word for word in rest[1:] if not word.startswith("--")]
        self.said.append(f"{verb} «{rest[0]}» {rows[0] if rows else ''}")

    def _type(self, handover: Mapping[str, str], looked: str) -> None:
        """What was handed over is typed once; reading shows whether it took. Typed again when the engine has looked
        twice since and still waits: what was just typed may need a while to show."""
        text = handover["text"]
        if not text:
            return  # another row's script does this one as well
        looks, before = self._typed.get(text, (-1, ""))
        if looks >= 0 and looked == before:
            return
        looks += 1
        self._typed[text] = looks, looked
        if looks >= REPEATS_MAX or looks % 2:
            return
        if handover["kind"] == "powershell":
            self.desk.type_powershell(text)
        elif handover["kind"] in ("dns", "internal_dns"):
            self.desk.enter_records(text, handover["kind"])
        self.said.append(f"typed «{handover['title']}»")
