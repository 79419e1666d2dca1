"""What a migration did, act by act, and where it is still to be killed: files that engines, lab and rig share.

An act is a request that reaches the lab, or a write of the journal. It is named by the protocol, not by a number:

    write settled mailbox/anna@contoso.com #1                   the first such record that became durable
    write hold after settled mailbox/anna@contoso.com #1, 1     the lease, taken when that was the journal's last record
    GET /v1.0/domains 2 behind <write>                          the second such request of the process whose last write
                                                                was that one

So an act means the same thing in every run, however often the migration was killed before: an engine that was killed
behind a write and goes on from the journal has not made that write itself, and what it asks is not counted as what
the first one would have asked. `<act> | before`, `| after` or `| answered` is a point; each is struck once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from engine.run.records import Record

#: How a point lies to its act. A write has no answer.
BEFORE, AFTER, ANSWERED = "before", "after", "answered"
#: The context of a process whose requests are nobody's points: it waits for the clock, and people act meanwhile.
WAITING = "waiting"
#: Requests that are no boundary: nobody waits for an answer to them, and who sends one may be gone when it arrives.
UNANSWERED = frozenset({"ldap unbind"})
#: Bytes of the file that says which engine acts and what it wrote last.
CONTEXT_BYTES = 4096


def point(act: str, when: str) -> str:
    return f"{act} | {when}"


def whens(act: str) -> tuple[str, ...]:
    return (BEFORE, AFTER) if act.startswith("write ") else (BEFORE, AFTER, ANSWERED)


def context(named: str) -> str:
    """What the act of this point lies behind; a write lies behind nothing but itself."""
    act = named.rpartition(" | ")[0]
    return act if act.startswith("write ") else act.partition(" behind ")[2]


def said(records: Sequence[Record]) -> str:
    """A write of the journal in words: its first record, and how many more there are."""
    first = records[0]
    more = f" and {len(records) - 1} more" if len(records) > 1 else ""
    return " ".join(f"{first.kind} {first.task} {first.row} {first.key}".split()) + more


class Ledger:
    """One rehearsal's files in `folder`; every process opens it for itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._wanted = set(self._lines("wanted")) - {each for _, each in self.struck()}
        self._context = os.open(folder / "context", os.O_RDWR | os.O_CREAT, 0o600)

    @classmethod
    def make(cls, folder: Path, wanted: Sequence[str]) -> Ledger:
        folder.mkdir()
        (folder / "wanted").write_text("".join(f"{each}\n" for each in wanted), encoding="utf-8")
        return cls(folder)

    def close(self) -> None:
        os.close(self._context)

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def _add(self, name: str, line: str) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    # ------------------------------------------------------------------------------------------------- acts

    def saw(self, act: str) -> None:
        self._add("acts", act)

    def acts(self) -> list[str]:
        """All acts so far, in order."""
        return self._lines("acts")

    def wrote(self, write: str) -> None:
        """A write of chained records is durable."""
        self._add("records", write)

    def durable(self, record: str) -> None:
        """One of its records, as the journal has to show it from now on."""
        self._add("durable", record)

    def shown(self) -> list[str]:
        """What the journal has to show."""
        return self._lines("durable")

    def records(self) -> list[str]:
        return self._lines("records")

    # ------------------------------------------------------------------------------------------------- points

    def wants(self, act: str, when: str) -> bool:
        return point(act, when) in self._wanted

    def strike(self, act: str, when: str, pid: int) -> None:
        """This engine is killed at this point; noted before or after the kill, by whoever outlives it."""
        self._wanted.discard(point(act, when))
        self._add("struck", f"{pid} {point(act, when)}")

    def struck(self) -> list[tuple[int, str]]:
        """Who was killed, and at which point, in order. One may have ended by itself in the meantime."""
        split = (line.partition(" ") for line in self._lines("struck"))
        return [(int(pid), each) for pid, _, each in split]

    # ------------------------------------------------------------------------------------------------- context

    def set_context(self, text: str) -> None:
        """Of this process: what it wrote last, or WAITING."""
        line = f"{os.getpid()} {text}".encode()
        os.pwrite(self._context, line[:CONTEXT_BYTES].ljust(CONTEXT_BYTES, b"\0"), 0)

    def context(self) -> tuple[int, str]:
        """The engine that acts, and its context; (0, "") before there is one."""
        pid, _, text = os.pread(self._context, CONTEXT_BYTES, 0).rstrip(b"\0").decode(errors="replace").partition(" ")
        return int(pid or 0), text


class Requests:
    """Names the requests of one engine after the other, as they reach the lab."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pid = 0
        self._count: Counter[tuple[str, str]] = Counter()

    def name(self, what: str) -> tuple[int, str]:
        """The engine that asks, and the act; (0, "") where it is no engine's."""
        pid, context = self._ledger.context()
        if not pid or context == WAITING or what in UNANSWERED:
            return 0, ""
        if pid != self._pid:
            self._pid = pid
            self._count.clear()
        self._count[context, what] += 1
        return pid, f"{what} {self._count[context, what]} behind {context}"
