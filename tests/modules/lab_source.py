"""A rehearsal organisation of any release, whose source can be unprepared on purpose, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.modules.lab_cloud import Lab, description


@contextmanager
def source(folder: Path, exchange: str, kind: str = "staged", **more: Any) -> Iterator[Lab]:
    """`more` goes into the organisation file: what is wrong with the source, further rows under `rows`."""
    told = description(kind)
    rows: Mapping[str, Any] = more.pop("rows", {})
    told |= {"exchange": exchange, **more}
    told["rows"] |= rows
    for server in told["rows"]["servers"]:
        server["exchange"] = exchange
    (folder / "organisation.json").write_text(json.dumps(told))
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.lab", "--organisation", str(folder / "organisation.json"),
         "--folder", str(folder / "lab"), "--seed", "3"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Lab(ready, {"tenant": told["tenant"], "type": kind, "exchange": exchange})
    finally:
        process.terminate()
        process.wait(10)
