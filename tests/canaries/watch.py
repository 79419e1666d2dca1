"""What a run writes for a moment, and what it tells the process table: seen while it happens.

An audit hook (PEP 578) shows every program started, with arguments and environment, and every file just before it is
removed or takes another's place. A thread reads /proc for the children that other processes start.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: The process table is read this often; what lives shorter is seen by the audit hook of its parent.
LOOK_SECONDS = 0.005


class Watch:
    """`seen`: where → bytes, for what is gone when the run is over."""

    def __init__(self, folders: list[Path], rightful: list[Path]) -> None:
        self.folders, self.rightful = folders, rightful
        self.seen: dict[str, bytes] = {}
        self.children = 0
        #: processes that stand for the user's own: what the user's shell gives them is no leak
        self._ours: set[int] = set()
        self._looking = threading.Lock()
        self._over = threading.Event()
        self._busy = threading.local()

    def ours(self, *processes: int) -> None:
        self._ours |= {*processes}

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """What the rig itself does on this thread."""
        with self._looking:
            self._busy.now = True
            try:
                yield
            finally:
                self._busy.now = False

    def note(self, where: str, data: bytes) -> None:
        self.seen[where] = self.seen.get(where, b"") + b"\n" + data

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """One audit event. Looks at files, which are audit events themselves."""
        if getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            if event == "subprocess.Popen":
                program, words, _, environment = arguments
                self.children += 1
                self.note("arguments of a child", repr((program, words)).encode() + os.fsencode("\0".join(
                    map(os.fsdecode, [words] if isinstance(words, (str, bytes)) else words))))
                self.note("environment of a child", "\0".join(
                    f"{os.fsdecode(name)}={os.fsdecode(value)}" for name, value in (environment or {}).items()).encode(
                        "utf-8", "surrogateescape"))
            elif event in ("os.remove", "os.rename"):
                path = Path(os.fsdecode(arguments[0])).resolve()
                if (any(map(path.is_relative_to, self.folders)) and not any(map(path.is_relative_to, self.rightful))
                        and path.is_file()):
                    self.note(f"a file before it went: {path.name}", path.read_bytes())
        except (OSError, TypeError, ValueError):
            pass  # it is gone, or was opened by descriptor
        finally:
            self._busy.now = False

    def look(self) -> None:
        """All descendants of this process, until told to stop."""
        while not self._over.wait(LOOK_SECONDS):
            with self._looking:
                for process in _descendants(os.getpid()):
                    for name in ("cmdline",) if process in self._ours else ("cmdline", "environ"):
                        self._look_at(process, name)

    def _look_at(self, process: int, name: str) -> None:
        try:
            data = (Path("/proc") / str(process) / name).read_bytes()
        except OSError:
            return
        if data not in self.seen.setdefault(f"/proc, {name}", b""):
            self.seen[f"/proc, {name}"] += b"\n" + data

    def stop(self) -> None:
        self._over.set()


def _descendants(root: int) -> Iterator[int]:
    for listing in (Path("/proc") / str(root) / "task").glob("*/children"):
        try:
            found = [int(word) for word in listing.read_text().split()]
        except OSError:
            continue
        for each in found:
            yield each
            yield from _descendants(each)


_watching: list[Watch] = []
_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _watching:
        watch.hear(event, arguments)


@contextmanager
def watching(folders: list[Path], rightful: list[Path]) -> Iterator[Watch]:
    """Files below `folders`, but not below `rightful`, where secrets are at home; all children.

    An audit hook stays for the life of a process; it is put in once, and idle outside of this.
    """
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    watch = Watch(folders, rightful)
    looking = threading.Thread(target=watch.look, daemon=True)
    _watching.append(watch)
    looking.start()
    try:
        yield watch
    finally:
        watch.stop()
        looking.join()
        _watching.remove(watch)
