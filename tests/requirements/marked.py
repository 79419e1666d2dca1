"""The tests marked with a requirement, as pytest itself collects them: `python -m tests.requirements.marked`.

Run as a program because a test session can hold one collection only; it prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Marked:
    """One test, or one case of a parametrised one. `servers`: the real servers that it meets."""

    node: str
    requirements: tuple[str, ...]
    servers: tuple[str, ...] = ()
    slow: bool = False

    @property
    def function(self) -> str:
        """Its place without the case: path::name."""
        return self.node.partition("[")[0]


def collect() -> list[Marked]:
    """Every marked test of the tree, slow ones last. Raises RuntimeError when the tree cannot be collected."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    ended = subprocess.run([sys.executable, "-m", "tests.requirements.marked"], cwd=ROOT, capture_output=True,
                           text=True, env=environment)
    if ended.returncode:
        raise RuntimeError(ended.stdout + ended.stderr)
    found = [Marked(each["node"], tuple(each["requirements"]), tuple(each["servers"]), each["slow"])
             for each in json.loads(ended.stdout)]
    return sorted(found, key=lambda each: each.slow)


class _Collector:
    """A pytest plugin that keeps what it is shown."""

    def __init__(self) -> None:
        self.found: list[Marked] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            ids = dict.fromkeys(str(name) for mark in item.iter_markers("requirement") for name in mark.args)
            servers = dict.fromkeys(str(name) for mark in item.iter_markers("server") for name in mark.args)
            if ids and item.get_closest_marker("live") is None:
                self.found.append(Marked(item.nodeid, tuple(ids), tuple(servers),
                                         item.get_closest_marker("slow") is not None))


def main() -> int:
    collector, said = _Collector(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests"],
                           plugins=[collector])
    print(said.getvalue() if code else json.dumps([asdict(each) for each in collector.found]))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
