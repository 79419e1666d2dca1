"""The engine whose acts are named in a ledger, and which is killed at writes of its journal: see bench.kill_matrix.

    python -m bench.kill_matrix.engine LEDGER apply …       # otherwise as `mailmove apply …`

It makes its calls one after the other, in the order in which they fall due (`engine.world.InlineWorkers`): which call
of four workers is the first is the machine's chance, and a point must be the same act in every run.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.kill_matrix.ledger import AFTER, BEFORE, WAITING, Ledger, said
from engine import cli, world
from engine.connections.clock import RemoteClock
from engine.run.journal import Journal, Record

#: Transactions that chain no record: the lease, and what a look saw. (A sign of life is brought about by the clock.)
UNCHAINED = ("hold", "release", "remember")


class Watch:
    """Around every write of this process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._records = Counter(line.rpartition(" #")[0] for line in ledger.records())
        self._last = (ledger.records() or ["nothing"])[-1]
        self._since: Counter[str] = Counter()
        ledger.set_context(f"start after {self._last}")

    def chained(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def writing(journal: Journal, records: Sequence[Record], **named: Any) -> Any:
            words = said(records)
            name = f"{words} #{self._records[words] + 1}"
            return self._write(f"write {name}", lambda: write(journal, records, **named),
                               lambda: self._wrote(words, name, records))

        return writing

    def unchained(self, write: Callable[..., Any], what: str) -> Callable[..., Any]:
        def writing(*words: Any, **named: Any) -> Any:
            self._since[what] += 1
            return self._write(f"write {what} after {self._last}, {self._since[what]}", lambda: write(*words, **named))

        return writing

    def waiting(self, wait: Callable[..., None]) -> Callable[..., None]:
        def waits(clock: RemoteClock, until: datetime | None, stop_early: Callable[[], bool]) -> None:
            self._ledger.set_context(WAITING)
            wait(clock, until, stop_early)
            self._ledger.set_context(f"woken {clock.now():%d %b %H:%M:%S} after {self._last}")

        return waits

    def _wrote(self, words: str, name: str, records: Sequence[Record]) -> None:
        for record in records:
            self._ledger.durable(said([record]))
        self._records[words] += 1
        self._last = name
        self._since.clear()
        self._ledger.wrote(name)

    def _write(self, act: str, write: Callable[[], Any], wrote: Callable[[], None] = lambda: None) -> Any:
        self._ledger.saw(act)
        self._die(act, BEFORE)
        answer = write()
        wrote()
        self._ledger.set_context(act.removeprefix("write "))
        self._die(act, AFTER)
        return answer

    def _die(self, act: str, when: str) -> None:
        if self._ledger.wants(act, when):
            self._ledger.strike(act, when, os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    watch = Watch(Ledger(Path(sys.argv.pop(1))))
    Journal._chain = watch.chained(Journal._chain)  # type: ignore[method-assign]
    for name in UNCHAINED:
        setattr(Journal, name, watch.unchained(getattr(Journal, name), name))
    RemoteClock.wait = watch.waiting(RemoteClock.wait)  # type: ignore[method-assign]
    world.World = partial(world.World, workers=world.InlineWorkers)  # type: ignore[misc,assignment]
    cli.run()


if __name__ == "__main__":
    main()
