"""A file's bytes as text, or the one problem that says why they are none.

Shared by YAML and CSV, so that a wrong file is refused in the same words wherever it is named. Nothing is guessed: a
file is UTF-8 (CSV also UTF-16 with its mark), its lines end in line feeds, and it holds no character that acts instead
of showing (safety notes, E2, E5, H1; Unicode Technical Report 36, section 2).
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path

from engine.contract import Mark, Problem

#: A hundred thousand mailboxes with their aliases take about half of it.
FILE_BYTES_MAX = 32 * 1024 * 1024
#: One wrong file may have a fault on every row; more of them than this are not even counted.
PROBLEMS_KEPT_MAX = 10_000

#: C0 and C1 controls (tab, line feed and carriage return aside), DEL, line separators, marks and isolates that reorder
#: a line, a byte order mark inside, half a surrogate pair, and code points that are no characters.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff]")
_LONE_RETURN = re.compile("\r(?!\n)")
#: What a file that is no text begins with, and what it is then.
_SIGNATURES = (
    (b"PK\x03\x04", "a ZIP file: an Excel workbook, perhaps"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "a gzip file"),
    (b"%PDF", "a PDF"),
    (b"7z\xbc\xaf", "a 7-Zip file"),
    (b"SQLite format 3\0", "a database"),
)


def content(path: Path, file: str) -> tuple[bytes, Problem | None]:
    """A file's bytes, at most FILE_BYTES_MAX, or why they cannot be had. What is no file is not waited for (I2)."""
    try:
        # a pipe nobody writes to is opened too, instead of waiting for somebody who does
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return b"", Problem("file cannot be read", Mark(file, 1, 1), f"{file}: it is no file.")
            data = stream.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        return b"", Problem("file cannot be read", Mark(file, 1, 1), f"{file}: {reason}.")
    return (b"", too_large(file)) if len(data) > FILE_BYTES_MAX else (data, None)


def too_large(file: str) -> Problem:
    return Problem("file is too large", Mark(file, 1, 1), f"More than {FILE_BYTES_MAX >> 20} MiB.",
                   "A hundred thousand mailboxes fit into half of that; is this the file you mean?")


def decoded(data: bytes, file: str, *, summary: str, save_as: str, utf16: bool = False) -> tuple[str, Problem | None]:
    """The text of a file's bytes. `summary` names what it is not, `save_as` the encoding to save it in again."""
    if len(data) > FILE_BYTES_MAX:
        return "", too_large(file)
    for signature, what in _SIGNATURES:
        if data.startswith(signature):
            return "", Problem(summary, Mark(file, 1, 1), f"This is {what}.", f'Save it as "{save_as}".')
    encoding = "utf-8"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        if not utf16:
            return "", Problem("file is not UTF-8", Mark(file, 1, 1), "This is UTF-16.",
                               f'Save it again with the encoding "{save_as}".')
        encoding = "utf-16"
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace").removeprefix("\ufeff")
        found = (f"The byte 0x{data[error.start]:02x} is not {encoding.upper()}; the file may be in an older code "
                 "page (ANSI, Latin-1).")
        if encoding == "utf-16":
            found = "The file ends in the middle of a UTF-16 character." if error.end >= len(data) - 1 else \
                "Here is no UTF-16 character."
        return "", _at(before, len(before), file, "file is not UTF-8" if encoding == "utf-8" else "file is not UTF-16",
                       found, f'Save it again with the encoding "{save_as}".')
    return text, _hidden(text, file, summary, save_as)


def _hidden(text: str, file: str, summary: str, save_as: str) -> Problem | None:
    if (index := text.find("\0")) >= 0:
        return _at(text, index, file, summary, "There is a NUL character.", f'Save it as text, in "{save_as}".')
    if found := _HIDDEN.search(text):
        sign = found[0]
        name = unicodedata.name(sign, "a control character").lower()
        return _at(text, found.start(), file, "hidden character",
                   f"U+{ord(sign):04X}, {name}: it acts and does not show.",
                   "Take it out; what you see in an editor is not what is read here.")
    if found := _LONE_RETURN.search(text):
        return _at(text, found.start(), file, "carriage return without a line feed",
                   "Editors and programs disagree on whether a line ends here.",
                   "Save the file again with the line ends of Windows (CR LF) or of Unix (LF).")
    return None


def _at(text: str, index: int, file: str, summary: str, found: str, remedy: str) -> Problem:
    """A problem at an offset; lines are counted by line feeds only, as editors do."""
    start = text.rfind("\n", 0, index) + 1
    return Problem(summary, Mark(file, text.count("\n", 0, index) + 1, index - start + 1), found, remedy)
