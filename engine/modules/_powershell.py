"""Lines that a person types into a management shell: texts quoted, so that data stays data."""

from __future__ import annotations

import re
import textwrap


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
