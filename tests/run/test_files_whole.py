"""A file that is written again is the old one or the new one, wherever the process is killed in between (S18)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from engine import world

OLD, NEW = b"old\n" * 1_000, b"a new one\n" * 50_000


def killed_at(line: int, path: Path) -> bool:
    """Writes in a process that SIGKILL meets before the line-th line of the writing; False: it ended before that."""
    child = os.fork()
    if child == 0:
        left = line

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal left
            if frame.f_code is not world.write_whole.__code__:
                return None
            left -= event == "line"
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        world.write_whole(path, NEW)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("before", [OLD, None], ids=["written again", "new"])
def test_killed_anywhere_a_file_is_old_or_new_and_can_be_written_afterwards(
        tmp_path: Path, before: bytes | None) -> None:
    seen = set()
    for line in range(100):
        path = tmp_path / str(line) / "report.html"
        path.parent.mkdir()
        if before is not None:
            path.write_bytes(before)
        if not killed_at(line, path):
            break
        seen.add(path.read_bytes() if path.exists() else None)
        world.write_whole(path, NEW)
        assert path.read_bytes() == NEW
    assert line > 10, "the writing has more lines than that"
    assert seen == {before, NEW}
