"""One server as a child in the foreground, with its own folder, port and end. Readiness is asked for, never guessed."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.servers.presence import program

HOST = "127.0.0.1"
#: Far beyond what any of them needs, on a machine that does a dozen other things.
READY_SECONDS_MAX = 60.0
END_SECONDS_MAX = 10.0


class ServerFailed(Exception):
    """The server ended, or never became ready: with the end of what it said."""


def free_port(host: str = HOST) -> int:
    """A port that is free now for TCP and UDP alike, and that no outgoing connection will be given meanwhile."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)  # below what systems hand out by themselves (RFC 6335, Linux)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((host, port))
                udp.bind((host, port))
            except OSError:
                continue
            return port


def answers_tcp(port: int, host: str = HOST) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def own_copy(name: str, folder: Path) -> Path:
    """A copy of a server's program in the test's folder, run from there.

    Debian confines some servers by the path of their program (AppArmor): the packaged one may read its own
    configuration only, and not a test's.
    """
    copy = folder / name
    if not copy.exists():
        shutil.copy2(Path(program(name)).resolve(), copy)
    return copy


class Process:
    """A running server. Ends with `stop`; its output is in `log`."""

    def __init__(self, words: Sequence[str | Path], log: Path, ready: Callable[[], bool],
                 environment: Mapping[str, str] | None = None) -> None:
        """Starts it and waits until `ready()`. Raises ServerFailed, the process gone."""
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=output,
                                           stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        until = time.monotonic() + READY_SECONDS_MAX
        while not ready():
            if self._child.poll() is not None or time.monotonic() > until:
                self.stop()
                raise ServerFailed(f"{words[0]} is not ready:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        return self._child.pid

    def pause(self) -> None:
        """It takes connections and answers nobody: a server that hangs."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._child.poll() is not None:
            return
        self._child.send_signal(signal.SIGCONT)
        self._child.terminate()
        try:
            self._child.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
