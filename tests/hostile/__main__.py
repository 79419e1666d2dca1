"""Every string in every field: `python -m tests.hostile [--every N] [--rounds N]`. A line of figures for each part.

Ends with 0 when no command ended in a traceback and no byte that acts came out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.hostile import fields
from tests.hostile.stage import Stage
from tests.hostile.strings import some
from tests.hostile.terminal import acting


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    arguments.add_argument("--every", type=int, default=1, help="only each N-th string")
    arguments.add_argument("--rounds", type=int, default=60, help="of commands against services with hostile words")
    said = arguments.parse_args()
    strings = some(said.every)
    ill = 0
    parts: dict[str, Callable[[Path, list[str]], fields.Seen]] = {
        "journal": fields.journal, "typing": fields.typing, "files": fields.files}
    for name, part in parts.items():
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            bugs, seen = part(Path(folder) / "migration", strings)
            ill += told(name, len(strings), bugs, seen, begun)
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        begun = time.monotonic()
        rounds = [stage.round(number, [each for each in strings[number * 16:number * 16 + 16] if each] or ["x"])
                  for number in range(said.rounds)]
        ill += told("services", sum(stage.served().values()), sum(bugs for bugs, _ in rounds),
                    b"".join(seen for _, seen in rounds), begun, styled=True)
        print(json.dumps(stage.served()), flush=True)
    return int(ill > 0)


def told(name: str, strings: int, bugs: int, seen: bytes, begun: float, *, styled: bool = False) -> int:
    found = acting(seen, styled=styled)
    print(json.dumps({"part": name, "strings": strings, "bytes": len(seen), "acting": len(found), "tracebacks": bugs,
                      "seconds": round(time.monotonic() - begun)}), flush=True)
    for each in found[:20]:
        print(each, file=sys.stderr)
    if bugs:
        at = seen.find(b"BUG")
        print(seen[max(0, at - 2000):at].decode("utf-8", "replace"), file=sys.stderr)
    return len(found) + bugs


if __name__ == "__main__":
    sys.exit(main())
