"""The engine, killed or stopped by its own hand at a write of its journal: what bench.kill_matrix and .operators start.

    python -m bench.dying_engine COUNTER AT WHEN apply …       # otherwise as `mailmove apply …`

WHEN: before or after the write, by SIGKILL; or stopped, by SIGSTOP once it is durable, where only writes that hold an
intent are counted: the requests it announces have not left. Writes are counted over all processes of a migration in
the file COUNTER: every transaction by which the journal takes in records, a consent, looks, or a change of the holder
(a sign of life, which the clock brings about, is none). AT 0 only counts.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.cli import run
from engine.run.journal import Journal, Record

WRITES = ("_chain", "hold", "release", "remember")


def counted(write: Callable[..., Any], counter: Path, at: int, when: str) -> Callable[..., Any]:
    def writing(*words: Any, **named: Any) -> Any:
        if when == "stopped" and not announces(words):
            return write(*words, **named)
        number = int(counter.read_text(encoding="ascii") or 0) + 1 if counter.exists() else 1
        counter.write_text(str(number), encoding="ascii")
        if number == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = write(*words, **named)
        if number == at:
            os.kill(os.getpid(), signal.SIGSTOP if when == "stopped" else signal.SIGKILL)
        return answer

    return writing


def announces(words: tuple[Any, ...]) -> bool:
    """Whether a write of the journal holds an intent."""
    return any(isinstance(record, Record) and record.kind == "intent"
               for word in words if isinstance(word, list | tuple) for record in word)


if __name__ == "__main__":
    counter, at, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    del sys.argv[1:4]
    for name in WRITES:
        setattr(Journal, name, counted(getattr(Journal, name), counter, at, when))
    run()
