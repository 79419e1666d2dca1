"""Cmdlets of the source's management shell: run where the inventory has one, else typed by a person, texts quoted."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.connections import Site
from engine.connections.source_records import has_shell
from engine.contract import Handover


def quoted(text: str) -> str:
    """A PowerShell literal: nothing inside single quotes is expanded; a quote is doubled (about_Quoting_Rules)."""
    return "'" + re.sub(r"(['‘’‚‛])", r"\1\1", text).replace("\n", " ").replace("\r", " ") + "'"


def script(*lines: str) -> str:
    """A handed-over script: a command stays on one line, so that it can be copied; a comment keeps to the screen."""
    return steps(*(each if each.startswith("#") else f"{AS_IT_IS}{each}" for each in lines))


def steps(*lines: str) -> str:
    """A handed-over text for a person who clicks: sentences keep to the screen, commands (AS_IT_IS) to their line."""
    return "".join(f"{line}\n" for each in lines for line in (
        [each.removeprefix(AS_IT_IS)] if each.startswith(AS_IT_IS) else
        textwrap.wrap(each, COLUMNS, subsequent_indent="# " if each.startswith("#") else "   ",
                      break_long_words=False, break_on_hyphens=False)))


#: Stands before a line that is to be typed as it is.
AS_IT_IS = "\0"
#: Of a screen of 100, less what stands before a handed-over line.
COLUMNS = 90


class Word(str):
    """A value of an enumeration: typed bare."""


class Call(NamedTuple):
    """One cmdlet with its parameters."""

    cmdlet: str
    parameters: Mapping[str, Any]

    def line(self) -> str:
        """As it is typed."""
        return " ".join((self.cmdlet, *(
            f"-{name}{':' if name == 'Confirm' else ' '}{_typed(value)}" for name, value in self.parameters.items())))


def run(site: Site, calls: Sequence[Call]) -> None:
    """One after the other, by the source's own shell. Raises Fault."""
    for call in calls:
        site.source_shell.invoke(call.cmdlet, **{
            name: str(value) if isinstance(value, Word) else value for name, value in call.parameters.items()})


def carried_out(site: Site, title: str, calls: Sequence[Call], notes: Sequence[str] = ()) -> Handover | None:
    """Run where there is a shell; else the lines for a person, `notes` (comments) before them."""
    if has_shell(site):
        run(site, calls)
        return None
    return Handover("powershell", title, script(*notes, *(each.line() for each in calls)))


def _typed(value: Any) -> str:
    match value:
        case None:
            return "$null"
        case bool():
            return "$true" if value else "$false"
        case Word():
            return str(value)
        case list():
            return ", ".join(map(_typed, value))
    return quoted(str(value))
