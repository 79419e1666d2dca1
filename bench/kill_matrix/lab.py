"""The lab that kills the engine whose request is a point of the ledger: see bench.kill_matrix.

    python -m bench.kill_matrix.lab LEDGER --organisation …       # otherwise as `python -m engine.lab …`
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextvars import ContextVar
from functools import partial
from pathlib import Path

from bench.kill_matrix.ledger import AFTER, ANSWERED, BEFORE, Ledger, Requests
from engine.lab import __main__ as lab
from engine.lab import serving
from engine.lab.faults import Faults, Killed, Level

#: As engine.lab.faults has it, but shorter: the engine shall not be several requests further on.
ANSWER_SECONDS = 0.005

#: The engine that asked, and its act.
_asked: ContextVar[tuple[int, str]] = ContextVar("asked", default=(0, ""))


class Strikes(Faults):
    """The kill switch by name instead of by number."""

    def __init__(self, ledger: Ledger, seed: int, level: Level) -> None:
        super().__init__(seed, level)
        self._ledger = ledger
        self._names = Requests(ledger)
        #: whoever was killed: what is still heard of one, or would be told it, is no act
        self._dead: set[int] = set()

    async def arrived(self, what: str = "") -> None:
        await super().arrived(what)
        pid, act = self._names.name(what)
        _asked.set((pid, act))
        if act and pid not in self._dead:
            self._ledger.saw(act)
        if self._hit(BEFORE):
            raise Killed("the sender was killed before its request was handled")

    async def answering(self) -> None:
        await super().answering()
        self._hit(AFTER)
        if self._ledger.wants(_asked.get()[1], ANSWERED):
            asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._hit, ANSWERED)

    async def answered(self) -> None:
        await super().answered()
        self._hit(ANSWERED)

    def _hit(self, when: str) -> bool:
        pid, act = _asked.get()
        if pid in self._dead or not self._ledger.wants(act, when):
            return False
        if not _lives(pid):  # it ended by itself in the meantime: not met
            return False
        os.kill(pid, signal.SIGKILL)
        self._dead.add(pid)
        self._ledger.strike(act, when, pid)
        return True


def _lives(pid: int) -> bool:
    """Whether there is still somebody to be killed: one that has ended is there until its parent has heard of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def main() -> int:
    serving.Faults = partial(Strikes, Ledger(Path(sys.argv.pop(1))))  # type: ignore[assignment,attr-defined]
    return lab.main()


if __name__ == "__main__":
    sys.exit(main())
