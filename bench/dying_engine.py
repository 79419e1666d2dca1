"""The engine, stopped by its own hand behind a write of its journal that holds an intent: what bench.operators starts.

    python -m bench.dying_engine AT apply …       # otherwise as `mailmove apply …`

SIGSTOP comes behind the AT-th such write of this process: the intent is durable, the requests it announces have not
left.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from engine.cli import run
from engine.run.journal import Journal, Record


def stopping(write: Callable[..., int], at: int) -> Callable[..., int]:
    intents = 0

    def writing(journal: Journal, records: Sequence[Record], **named: Any) -> int:
        nonlocal intents
        answer = write(journal, records, **named)
        if any(record.kind == "intent" for record in records):
            intents += 1
            if intents == at:
                os.kill(os.getpid(), signal.SIGSTOP)
        return answer

    return writing


if __name__ == "__main__":
    Journal._chain = stopping(Journal._chain, int(sys.argv.pop(1)))  # type: ignore[method-assign]
    run()
