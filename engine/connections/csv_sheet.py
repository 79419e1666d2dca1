"""A CSV file as a person saved it, read strictly: its rows, or everything that is wrong with its form.

Unlike csv.DictReader nothing is made to fit: a short row, a long row, a repeated name and an open quote are problems
of the sheet. What the columns mean is not known here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.connections import text_file
from engine.contract import Invalid, Mark, Problem

#: More rows than any organisation that is moved this way has; a file beyond them is another file.
SHEET_ROWS_MAX = 250_000
#: Signs that a system's list settings put in the place of commas.
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a CSV file. `line` is the physical line it begins on, from 1.

    `crooked`: it was shorter or longer than the header, so which value belongs to which column is not known.
    """

    line: int
    values: tuple[str, ...]
    crooked: bool = False


@dataclass(slots=True)
class Sheet:
    """A CSV file's header and rows; well formed when there are no problems. `line`: where the header stands."""

    file: str
    line: int = 1
    header: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def at(file: str, line: int, summary: str, found: str = "", remedy: str = "") -> Problem:
    """A problem of one line. A row may hold a password: the line itself is not shown."""
    return Problem(summary, Mark(file, line, 1), found, remedy)


def content(path: Path, name: str) -> bytes:
    """A file's bytes. Raises Invalid where they cannot be read or are too many."""
    data, problem = text_file.content(path, name)
    if problem is not None:
        raise Invalid([problem])
    return data


def strict_rows(data: bytes, file: str) -> Sheet:
    """A CSV file's rows and what is wrong with its form: encoding, separator, header, length of rows. Never raises.

    Blank lines are left out (S-20). A file with another separator is told, and read on with it, so that what else is
    wrong is told as well. At most SHEET_ROWS_MAX rows and text_file.PROBLEMS_KEPT_MAX problems.
    """
    sheet = Sheet(file)
    text, problem = decoded(data, file)
    if problem is not None:
        sheet.problems.append(problem)
        return sheet
    _read(sheet, text, ",")
    sign = next((sign for sign in SEPARATORS if sheet.header and sign in ",".join(sheet.header)), None)
    if sign is not None:
        sheet = Sheet(file, problems=[at(
            file, sheet.line, "not comma separated", f"The header has {SEPARATORS[sign]} (S-19).",
            "Save it with commas; Excel takes the sign from the system's list separator.")])
        _read(sheet, text, sign)
    if not sheet.header and not sheet.problems:
        sheet.problems.append(at(file, 1, "the file is empty", "There is no header (S-18).",
                                 "The first line names the columns, separated by commas."))
    return sheet


def _read(sheet: Sheet, text: str, separator: str) -> None:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    before = 0
    try:
        for values in reader:
            line, before = before + 1, reader.line_num
            if len(sheet.rows) == SHEET_ROWS_MAX or len(sheet.problems) >= text_file.PROBLEMS_KEPT_MAX:
                sheet.problems.append(at(sheet.file, line, "too many rows", f"More than {SHEET_ROWS_MAX:,} rows, or "
                                         f"{text_file.PROBLEMS_KEPT_MAX:,} problems; nothing below was looked at.",
                                         "Is this the file you mean?"))
                return
            if not any(value.strip() for value in values):
                continue
            if not sheet.header:
                sheet.header, sheet.line = tuple(values), line
                sheet.problems += _header_problems(sheet)
            elif len(values) != len(sheet.header):
                sheet.problems.append(at(
                    sheet.file, line, "wrong number of values",
                    f"Row {len(sheet.rows) + 1} has {len(values)} values, the header {len(sheet.header)} (S-22).",
                    "A value with a comma stands in double quotes; the comma of an empty value stays (S-15)."))
                sheet.rows.append(Row(line, (*values, *("",) * len(sheet.header))[: len(sheet.header)], True))
            else:
                sheet.rows.append(Row(line, tuple(values)))
    except csv.Error as error:
        sheet.problems.append(at(sheet.file, before + 1, "CSV syntax",
                                 f"{str(error).capitalize()}; the row begins here.",
                                 "A quote inside a quoted value is written twice (RFC 4180)."))


#: The rule of the service's page behind each way in which a file's bytes can be wrong.
RULES = {"not a CSV file": "S-16", "file is not UTF-8": "S-17", "hidden character": "S-21"}


def decoded(data: bytes, file: str, code_page: str = "") -> tuple[str, Problem | None]:
    """UTF-8, or UTF-16 with its mark: S-17 allows any Unicode encoding. With `code_page`, that one instead."""
    begins = data.lstrip()[:1]
    if begins == b"<":
        return "", at(file, 1, "not a CSV file", "This looks like HTML or XML.", "Export it again, as CSV.")
    if begins in (b"{", b"["):
        return "", at(file, 1, "not a CSV file", "This looks like JSON.", "Export it again, as CSV.")
    if code_page:
        try:
            data = data.decode(code_page).encode()
        except UnicodeDecodeError as error:
            return "", at(file, data.count(b"\n", 0, error.start) + 1, "another code page",
                          f"The byte 0x{data[error.start]:02x} is not in {code_page}.", "Name the one it was saved in.")
    text, problem = text_file.decoded(data, file, summary="not a CSV file", save_as="CSV UTF-8", utf16=True)
    if problem is not None:
        rule = f" ({RULES[problem.summary]})." if problem.summary in RULES else "."
        remedy = problem.remedy.removesuffix(".") + (
            ", or: mailmove inventory convert --code-page cp1252." if problem.summary == "file is not UTF-8" else ".")
        problem = replace(problem, found=problem.found.removesuffix(".") + rule, remedy=remedy)
    return text, problem


def _header_problems(sheet: Sheet) -> Iterator[Problem]:
    line = sheet.line
    for name in sorted({name for name in sheet.header if sheet.header.count(name) > 1}):
        yield at(sheet.file, line, "column named twice", f'"{name}" stands twice in the header.')
    for name in sheet.header:
        if name != name.strip():
            yield at(sheet.file, line, "blank beside a column name", f'"{name}" (S-10).',
                     "Write the names directly after the commas.")
        elif not name:
            yield at(sheet.file, line, "column without a name", "A comma too many in the header?")
