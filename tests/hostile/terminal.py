"""A real pseudo-terminal: what a process writes to it, byte by byte, and which of these bytes would act."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

#: What our own table draws with while a run is under way (rich): cursor hidden and shown, line erased, cursor up, bold.
OURS = re.compile(r"\x1b\[(?:\?25[lh]|2K|1A|0?m|1m|22m)|\r(?=\n|\x1b\[|$)")
#: Characters of other categories that are not seen either (UAX 44, Default_Ignorable_Code_Point; braille blank).
UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")


def typed(words: Sequence[str], folder: Path, environment: Mapping[str, str],
          answers: bytes = b"") -> tuple[int, bytes]:
    """What the program answered on a terminal of 40 lines and 100 columns, and its exit code."""
    ours, theirs = pty.openpty()
    with contextlib.suppress(ImportError):
        import fcntl
        import struct
        import termios

        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
                               env=dict(environment))
    os.close(theirs)
    os.write(ours, answers)
    seen = bytearray()
    waiting = select.poll()  # select() knows no descriptor above 1,023
    waiting.register(ours, select.POLLIN)
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while True:
            ready = waiting.poll(200)
            if ready and not (piece := os.read(ours, 65_536)):
                break
            if ready:
                seen += piece
            elif process.poll() is not None:
                break
    os.close(ours)
    return process.wait(), bytes(seen)


def acting(seen: bytes, *, styled: bool = False) -> list[str]:
    """Every character that would act instead of show, with what stands before it. `styled`: our table may be drawn."""
    text = seen.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    if styled:
        text = OURS.sub("", text)
    found = []
    for place, sign in enumerate(text):
        if sign == "\n":
            continue
        kind = unicodedata.category(sign)
        noncharacter = ord(sign) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(sign) <= 0xFDEF
        if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") or sign in UNSEEN or noncharacter:
            found.append(f"U+{ord(sign):04X} after {text[max(0, place - 60):place]!r}")
    return found + [f"a forged line after {text[max(0, each.start() - 60):each.start()]!r}"
                    for each in re.finditer(r"^FORGED", text, re.MULTILINE)]
