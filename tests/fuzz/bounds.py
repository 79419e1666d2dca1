"""What one execution may cost, and what was seen: 1 s of CPU each, 256 MiB for the process, nothing uncaught."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CPU_SECONDS_MAX = 1.0
RESIDENT_MIB_MAX = 256


def peak_resident_mib() -> int:
    """This program's own peak. What getrusage tells is inherited by a child from the larger process that began it."""
    (line,) = [line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
               if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


class TooLongError(BaseException):
    """An input took more CPU than it may. Not an Exception: nothing that is fed may catch it."""


class Bounded:
    """A target that ends an execution at the bound, and remembers the slowest."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed
        self.executions = 0
        self.slowest = 0.0
        self.slowest_input = b""
        signal.signal(signal.SIGVTALRM, self._late)

    def __call__(self, data: bytes) -> None:
        self.executions += 1
        begun = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS_MAX)
        try:
            self._feed(data)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        took = time.process_time() - begun
        if took > self.slowest:
            self.slowest, self.slowest_input = took, data

    def seen(self) -> dict[str, Any]:
        return {"executions": self.executions, "slowest_cpu_seconds": round(self.slowest, 3),
                "peak_resident_mib": peak_resident_mib()}

    def report(self) -> str:
        return json.dumps(self.seen())

    @staticmethod
    def _late(number: int, frame: object) -> None:
        raise TooLongError(f"more than {CPU_SECONDS_MAX} s of CPU")
