"""`python -m engine.lab`: a whole organisation on loopback, source and cloud, in one process with one clock.

Prints one line of JSON when everything listens: control, connections, clock, ca_file, tenant.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine.lab.faults import LEVELS


async def run(description: dict[str, Any], folder: Path, seed: int, gated: bool, level: str) -> None:
    """Serve until `POST /stop` or a signal."""
    from engine.lab.serving import laboratory

    lab = await laboratory(description, folder, seed, gated, LEVELS[level])
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lab.control.stopped.set)
    print(json.dumps({**lab.ready, "pid": os.getpid()}), flush=True)
    await lab.control.stopped.wait()
    await lab.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.lab", description=__doc__)
    parser.add_argument("--organisation", type=Path, required=True, help="organisation file (JSON)")
    parser.add_argument("--folder", type=Path, required=True, help="for the CA certificate and other files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gated", action="store_true", help="a wait is held until it is granted")
    parser.add_argument("--faults", choices=sorted(LEVELS), default="none")
    given = parser.parse_args()
    description = json.loads(given.organisation.read_text(encoding="utf-8"))
    given.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(description, given.folder, given.seed, given.gated, given.faults))
    return 0


if __name__ == "__main__":
    sys.exit(main())
