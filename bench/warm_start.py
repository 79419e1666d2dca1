"""Processes forked from one that has imported everything: real ones, each with its own pid, without the half second
that an interpreter takes to read its modules. `WarmStart` is an engine.laboratory.Start.

The process that is forked from has read modules and nothing else: it has loaded no playbook and opened no file.
"""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import random
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import IO, Any, cast

from engine.laboratory import python

#: What is read before the first fork: this module, and by it all of mailmove and the lab.
PRELOAD = ("bench.warm_start", "bench.warm_modules")


class WarmStart:
    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOAD))

    def __call__(self, words: Sequence[str], stdout: IO[bytes] | None, stderr: IO[bytes] | None,
                 environment: Mapping[str, str]) -> Forked:
        return Forked(self._context, words, stdout, stderr, environment)


class Forked:
    """One of them, as subprocess.Popen would show it."""

    def __init__(self, context: Any, words: Sequence[str], stdout: IO[bytes] | None, stderr: IO[bytes] | None,
                 environment: Mapping[str, str]) -> None:
        self.stdout: IO[bytes] | None = None
        if stdout is None:
            reader, out = context.Pipe(duplex=False)
            self.stdout = os.fdopen(os.dup(reader.fileno()), "rb")
            reader.close()
        else:
            out = Connection(os.dup(stdout.fileno()), readable=False)
        errors = Connection(os.dup(stderr.fileno()), readable=False) if stderr is not None else None
        self._process = context.Process(target=_run, args=(list(words), out, errors, python(environment)))
        self._process.start()
        out.close()
        if errors is not None:
            errors.close()
        self.pid = cast(int, self._process.pid)

    def poll(self) -> int | None:
        return cast("int | None", self._process.exitcode)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        return cast(int, self._process.exitcode)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def _run(words: list[str], out: Connection, errors: Connection | None, environment: Mapping[str, str]) -> None:
    """In the child: `python -m WORDS`."""
    os.dup2(out.fileno(), 1)
    os.dup2((errors or out).fileno(), 2)
    for each in (out, errors):
        if each is not None:
            each.close()
    sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(number, "wb", 0), encoding="utf-8", write_through=True)
                              for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    module, *rest = words
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
