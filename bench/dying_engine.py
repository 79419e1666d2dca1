"""The engine, killed by its own hand at a write of its journal: the entry that bench.kill_matrix starts.

    python -m bench.dying_engine COUNTER AT WHEN apply …       # otherwise as `mailmove apply …`

Writes are counted over all processes of a migration in the file COUNTER: every transaction by which the journal takes
in records, a consent, looks, or a change of the holder (a sign of life, which the clock brings about, is none). AT 0
only counts.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.cli import run
from engine.run.journal import Journal

WRITES = ("_chain", "hold", "release", "remember")


def counted(write: Callable[..., Any], counter: Path, at: int, when: str) -> Callable[..., Any]:
    def writing(*words: Any, **named: Any) -> Any:
        number = int(counter.read_text(encoding="ascii") or 0) + 1 if counter.exists() else 1
        counter.write_text(str(number), encoding="ascii")
        if number == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = write(*words, **named)
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return writing


if __name__ == "__main__":
    counter, at, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    del sys.argv[1:4]
    for name in WRITES:
        setattr(Journal, name, counted(getattr(Journal, name), counter, at, when))
    run()
