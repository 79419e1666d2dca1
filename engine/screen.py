"""Screen: the one way text leaves mailmove, so that data can never steer a terminal.

Names, error texts and addresses come from outside. A control character in one of them could move the cursor,
change colours or answer for the user; a bidirectional mark could make `moc.osotnoc` read as `contoso.com`
(Unicode Technical Report 36, section 2; Trojan Source, CVE-2021-42574). Every writer sends lines through `visible`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TextIO

#: C0, DEL and C1 controls; halves of surrogate pairs; line separators; marks that reorder, join or hide text (general
#: category Cf); what stands for nothing that is seen (Default_Ignorable_Code_Point but for the variation selectors
#: that emoji use; the blank of Braille) and noncharacters, which a terminal draws as it likes.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff" + "".join(
        f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 17)) + "]")


def visible(text: str) -> str:
    """The text with every character that would act instead of show written as an escape: ESC as `\\x1b`."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def plain(value: Any) -> Any:
    """The value in JSON's own types: times as ISO 8601 in UTC, bytes as hex, tuples and sets as lists."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(each) for each in value)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Canonical enough to compare by eye and by diff: ASCII only, so that it is as safe as `visible` text."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=True)


class Screen:
    """Standard output and standard error of one command. Nothing else in mailmove prints.

    A line is a line: a line feed inside it is data and shown as `\\n`.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out = out
        self.err = err
        self.interactive = out.isatty() and err.isatty()

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.line(line)

    def line(self, line: str = "") -> None:
        self.out.write(visible(line) + "\n")

    def error(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.err.write(visible(line) + "\n")

    def json(self, value: Any, *, indent: int | None = None) -> None:
        """One value: one line, or an indented text for people who pipe it into a pager."""
        self.out.write(as_json(value, indent=indent) + "\n")
        self.out.flush()

    def ask(self, question: str) -> str:
        """What a person types; empty where nobody can."""
        if not (self.interactive and sys.stdin is not None and sys.stdin.isatty()):
            return ""
        self.out.write(visible(question) + " ")
        self.out.flush()
        return sys.stdin.readline().strip()
