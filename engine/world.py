"""Clock, randomness, environment and workers behind one interface: the real ones, and ones a test can move.

Nothing else in `engine/` reads a clock, sleeps, draws a random number, looks at the environment or starts a
thread; `tests/test_house.py` holds everyone to it. Files written for people or for later runs go through
`write_whole`, so that a reader finds the old one or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import queue
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol


class Clock(Protocol):
    """UTC now, and waiting. `wait` is the engine's long wait: it may return early, so look at `now` again."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None:
        """A short pause inside a connection (Retry-After, back-off)."""
        ...

    def wait(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        """Return when `until` has come, when `stop_early()` says so, or – with None – only then."""
        ...


class SystemClock:
    """The machine's own clock. Long waits look up every two seconds, so that a person's word is heard soon."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        while not stop_early():
            left = (until - self.now()).total_seconds() if until else 2.0
            if left <= 0:
                return
            time.sleep(min(2.0, left))


class StillClock:
    """A clock that stands still until it is told to move: for tests, and for anything that must not wait."""

    def __init__(self, start: datetime) -> None:
        self.time = start

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def wait(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        if until is not None and not stop_early():
            self.time = max(self.time, until)


class Workers(Protocol):
    """Runs calls to remote systems, bounded per connection; answers come back one at a time.

    Only the driver calls it. `job` is handed back with what the call returned or raised.
    """

    def room(self, connection: str) -> int:
        """How many more jobs this connection takes now."""
        ...

    def submit(self, connection: str, job: object, call: Callable[[], Any]) -> None: ...

    def finished(self, timeout: float | None) -> tuple[object, Any, BaseException | None] | None:
        """The next finished job (job, result, error), or None when none finishes in time or none is under way."""
        ...

    def busy(self) -> int: ...

    def close(self) -> None: ...


class ThreadWorkers:
    """A bounded pool of threads per connection (default 4, `limits` by connection name)."""

    def __init__(self, limits: Mapping[str, int] | None = None, default: int = 4) -> None:
        self._limits = dict(limits or {})
        self._default = default
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._running: dict[Future[Any], tuple[str, object]] = {}
        self._count: dict[str, int] = {}
        self._done: deque[Future[Any]] = deque()

    def room(self, connection: str) -> int:
        return self._limits.get(connection, self._default) - self._count.get(connection, 0)

    def submit(self, connection: str, job: object, call: Callable[[], Any]) -> None:
        pool = self._pools.get(connection)
        if pool is None:
            size = self._limits.get(connection, self._default)
            pool = self._pools[connection] = ThreadPoolExecutor(size, thread_name_prefix=connection or "journal")
        self._running[pool.submit(call)] = (connection, job)
        self._count[connection] = self._count.get(connection, 0) + 1

    def finished(self, timeout: float | None) -> tuple[object, Any, BaseException | None] | None:
        if not self._done:
            waiting = [each for each in self._running]
            if not waiting:
                return None
            self._done.extend(wait(waiting, timeout, FIRST_COMPLETED).done)
            if not self._done:
                return None
        future = self._done.popleft()
        connection, job = self._running.pop(future)
        self._count[connection] -= 1
        error = future.exception()
        return job, None if error else future.result(), error

    def busy(self) -> int:
        return len(self._running)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


class InlineWorkers:
    """Runs each job when its answer is asked for, one at a time, in an order drawn from a seed: for simulation."""

    def __init__(self, order: random.Random | None = None, limit: int = 4) -> None:
        self._order = order
        self._limit = limit
        self._jobs: list[tuple[str, object, Callable[[], Any]]] = []

    def room(self, connection: str) -> int:
        return self._limit - sum(1 for name, _, _ in self._jobs if name == connection)

    def submit(self, connection: str, job: object, call: Callable[[], Any]) -> None:
        self._jobs.append((connection, job, call))

    def finished(self, timeout: float | None) -> tuple[object, Any, BaseException | None] | None:
        if not self._jobs:
            return None
        place = self._order.randrange(len(self._jobs)) if self._order else 0
        _, job, call = self._jobs.pop(place)
        try:
            return job, call(), None
        except Exception as error:  # the driver judges every fault; a worker has no opinion
            return job, None, error

    def busy(self) -> int:
        return len(self._jobs)

    def close(self) -> None:
        self._jobs.clear()


class Child:
    """A program of the machine that answers line by line: what it says is read with a deadline, and it can be ended.

    It inherits the named variables of the environment only, since ours may hold secrets. What it prints to standard
    error is kept for the report of its death, the last of it.
    """

    #: a line longer than this is not one: the child is out of its mind
    LINE_BYTES_MAX = 64 * 1024 * 1024
    #: lines read ahead; a child that prints more waits until somebody reads
    LINES_AHEAD = 256
    LAST_WORDS_BYTES = 4096

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts it. Raises OSError where there is no such program."""
        self._process = subprocess.Popen(
            list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(environment), start_new_session=True)
        self._lines: queue.Queue[bytes | None] = queue.Queue(self.LINES_AHEAD)
        self._sent: queue.Queue[bytes | None] = queue.Queue()
        self._last_words = b""
        self._over = False
        self._threads = [threading.Thread(target=work, daemon=True)
                         for work in (self._listen, self._overhear, self._speak)]
        for thread in self._threads:
            thread.start()

    @property
    def process_id(self) -> int:
        return self._process.pid

    def send(self, line: bytes) -> None:
        """One line to it, without waiting for it to be read; a child that is gone takes it in silence."""
        self._sent.put(line + b"\n")

    def receive(self, seconds: float) -> bytes | None:
        """Its next line; None when none came in time. Raises EOFError when it has ended, or said what is no line."""
        if self._over:
            raise EOFError
        try:
            line = self._lines.get(timeout=max(seconds, 0.001))
        except queue.Empty:
            return None
        if line is None:
            self._over = True
            raise EOFError
        return line

    def last_words(self) -> str:
        """The end of what it printed to standard error."""
        return self._last_words.decode("utf-8", "replace").strip()

    def end(self, seconds: float = 5.0) -> None:
        """Tells it that nothing more comes, and ends it and its children when it has not gone by then."""
        self._sent.put(None)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._over = True
        for thread in self._threads:  # what it still said is heard; a grandchild may hold the pipe open
            thread.join(1.0)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # its end of the pipe is gone, and so is it
            while line := self._process.stdout.readline(self.LINE_BYTES_MAX):
                if not line.endswith(b"\n"):
                    break
                while not self._over:
                    with contextlib.suppress(queue.Full):
                        self._lines.put(line.rstrip(b"\r\n"), timeout=0.1)
                        break
        while not self._over:
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=0.1)
                return

    def _overhear(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while said := self._process.stderr.read1(self.LAST_WORDS_BYTES):  # type: ignore[attr-defined]
                self._last_words = (self._last_words + said)[-self.LAST_WORDS_BYTES:]

    def _speak(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (line := self._sent.get()) is not None:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            self._process.stdin.close()


class Pulse:
    """Calls `beat` every `seconds`, in a thread of its own, until it is closed or `beat` raises.

    What it raises is not told here: the driver meets the same at its next step.
    """

    def __init__(self, seconds: float, beat: Callable[[], None]) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, args=(seconds, beat), daemon=True)
        self._thread.start()

    def _go_on(self, seconds: float, beat: Callable[[], None]) -> None:
        with contextlib.suppress(Exception):
            while not self._over.wait(seconds):
                beat()

    def close(self) -> None:
        """It beats no more when this has returned."""
        self._over.set()
        self._thread.join()


def _machine() -> str:
    """What process numbers are counted on: this start of the machine, and the container in it; "" where none tells."""
    with contextlib.suppress(OSError):
        start = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{start} {Path('/proc/self/ns/pid').readlink()}"
    return ""


@dataclass
class World:
    """Everything of the machine that the engine may touch. Tests and the simulator hand in their own."""

    clock: Clock = field(default_factory=SystemClock)
    random: random.Random = field(default_factory=random.Random)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    workers: Callable[[], Workers] = ThreadWorkers
    child: Callable[[Sequence[str], Mapping[str, str]], Child] = Child
    #: so many bytes that nobody can guess: for keys, never for choices that a test repeats
    unguessable: Callable[[int], bytes] = os.urandom
    process_id: int = field(default_factory=os.getpid)
    pulse: Callable[[float, Callable[[], None]], Pulse] = Pulse
    host: str = field(default_factory=platform.node)
    machine: str = field(default_factory=_machine)

    @property
    def user(self) -> str:
        """Who the operating system says is at work."""
        named = (self.environment.get(name) for name in ("LOGNAME", "USER", "USERNAME"))
        found = next((name for name in named if name), "")
        if not found:
            try:
                found = getpass.getuser()  # a container may name nobody; the password database still knows
            except (KeyError, OSError):
                found = "unknown"
        return found


def is_file(path: Path) -> bool:
    """Whether a file is there. A name that the system does not take (too long, a NUL in it) is none."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_file()
    return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; as `is_file`."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_dir()
    return False


def lies_in(path: Path, folder: Path) -> bool:
    """Whether the path, every link on its way followed, is the folder or something below it. Nothing need be there."""
    there = Path(os.path.realpath(path))  # unlike `resolve`, a circle of links raises nothing
    return there.is_relative_to(os.path.realpath(folder))


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one, never half.

    Temporary file in the same folder, sync, rename, sync of the folder. OSError when the disk says no; the old
    file is then untouched.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            if hasattr(os, "fchmod"):
                os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
