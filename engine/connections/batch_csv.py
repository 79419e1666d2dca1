"""The CSV file of a staged batch, as Microsoft's service takes it (S-10 to S-22), and the strict reader beneath it.

The service makes five checks when the file is chosen: not empty, comma separated, at most 2,000 rows, a column
EmailAddress, every row as long as the header. All of them and the rules for each column are checked here first, and
every fault of the file is told at once, with its row ("CSV files for mailbox migration", Microsoft Learn).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from engine.connections import text_file
from engine.contract import Invalid, Mark, Problem

COLUMNS = ("EmailAddress", "Password", "ForceChangePassword")
ROWS_MAX = 2_000  # S-20
PASSWORD_LENGTH_MIN = 8  # S-12
#: More rows than any organisation that is moved this way has; a file beyond them is another file.
SHEET_ROWS_MAX = 250_000

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a CSV file. `line` is the physical line it begins on, from 1."""

    line: int
    values: tuple[str, ...]


@dataclass(slots=True)
class Sheet:
    """A CSV file that is well formed: every row has as many values as the header has names."""

    file: str
    header: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    #: some row was shorter or longer than the header: which value belongs to which column is not known
    crooked: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One mailbox of a batch. `address` is lower case; `password` is never shown."""

    address: str
    password: str | None = field(default=None, repr=False)
    force_change_password: bool | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A batch's members in written order, and warnings."""

    members: tuple[Member, ...]
    warnings: tuple[Problem, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(each.address for each in self.members)


def read(path: Path, shown: str = "") -> BatchFile:
    """Reads and checks a batch's file. Raises Invalid with everything that is wrong; nothing is half-read.

    `shown` is the name problems give the file. Problems never repeat a password.
    """
    name = shown or str(path)
    if path.suffix.lower() not in (".csv", ".txt"):
        raise Invalid(
            [
                Problem(
                    "not a CSV file",
                    Mark(name, 1, 1),
                    f'The name ends in "{path.suffix}".',
                    "Save the list as .csv or .txt (S-16).",
                )
            ]
        )
    return parse(content(path, name), name)


def parse(data: bytes, file: str) -> BatchFile:
    """Like `read`, of bytes."""
    sheet = strict_rows(data, file)
    problems = sheet.problems
    warnings: list[Problem] = []
    if sheet.header and not any(problem.summary == "not comma separated" for problem in problems):
        problems += _header_problems(sheet)
        if not sheet.rows and not problems:
            problems.append(
                _at(file, 1, "the file is empty", "There is a header and no row (S-18).", "Write one row per mailbox.")
            )
    if len(sheet.rows) > ROWS_MAX:
        problems.append(
            _at(
                file,
                sheet.rows[ROWS_MAX].line,
                "too many rows",
                f"{len(sheet.rows):,} rows; a batch takes at most {ROWS_MAX:,} (S-20).",
                "Split the batch: mailmove inventory split",
            )
        )
    members = list(_members(sheet, problems, warnings)) if "EmailAddress" in sheet.header and not sheet.crooked else []
    if problems:
        raise Invalid(problems)
    return BatchFile(tuple(members), tuple(warnings))


def write(members: Iterable[Member | str], *, mark: bool = False) -> bytes:
    """The file for these members, in the service's form: UTF-8, optional columns only where used (S-10, S-15, S-17).

    `mark` puts a byte order mark in front, for Excel. Plain text stands for an address.
    """
    rows = [Member(each) if isinstance(each, str) else each for each in members]
    names = [
        name
        for name, used in zip(
            COLUMNS,
            (
                True,
                any(each.password for each in rows),
                any(each.force_change_password is not None for each in rows),
            ),
            strict=True,
        )
        if used
    ]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for each in rows:
        force = "" if each.force_change_password is None else str(each.force_change_password)
        values = {"EmailAddress": each.address, "Password": each.password or "", "ForceChangePassword": force}
        writer.writerow([values[name] for name in names])
    return (b"\xef\xbb\xbf" if mark else b"") + out.getvalue().encode()


def content(path: Path, name: str) -> bytes:
    """A file's bytes. Raises Invalid where they cannot be read or are too many."""
    data, problem = text_file.content(path, name)
    if problem is not None:
        raise Invalid([problem])
    return data


def strict_rows(data: bytes, file: str) -> Sheet:
    """A CSV file's rows, or what is wrong with its form: encoding, separator, header, length of rows.

    Unlike csv.DictReader nothing is made to fit: a short row, a long row, a repeated name and an open quote are
    problems of the sheet. Blank lines are left out (S-20). At most SHEET_ROWS_MAX rows
    and text_file.PROBLEMS_KEPT_MAX problems. Never raises.
    """
    sheet = Sheet(file)
    text, problem = _decoded(data, file)
    if problem is not None:
        sheet.problems.append(problem)
        return sheet
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = 0
    try:
        for values in reader:
            line, before = before + 1, reader.line_num
            if len(sheet.rows) == SHEET_ROWS_MAX or len(sheet.problems) >= text_file.PROBLEMS_KEPT_MAX:
                sheet.problems.append(_at(file, line, "too many rows", f"More than {SHEET_ROWS_MAX:,} rows, or "
                                          f"{text_file.PROBLEMS_KEPT_MAX:,} problems; nothing below was looked at.",
                                          "Is this the file you mean?"))
                break
            if not any(value.strip() for value in values):
                continue
            if not sheet.header:
                sheet.header = tuple(values)
                sheet.problems += _form_problems(sheet, line)
                if any(problem.summary == "not comma separated" for problem in sheet.problems):
                    return sheet
            elif len(values) != len(sheet.header):
                sheet.problems.append(
                    _at(
                        file,
                        line,
                        "wrong number of values",
                        f"Row {len(sheet.rows) + 1} has {len(values)} values, the header {len(sheet.header)} (S-22).",
                        "A value with a comma stands in double quotes; the comma of an empty value stays.",
                    )
                )
                sheet.rows.append(Row(line, (*values, *("",) * len(sheet.header))[: len(sheet.header)]))
                sheet.crooked = True
            else:
                sheet.rows.append(Row(line, tuple(values)))
    except csv.Error as error:
        sheet.problems.append(
            _at(
                file,
                before + 1,
                "CSV syntax",
                f"{str(error).capitalize()}; the row begins here.",
                "A quote inside a quoted value is written twice (RFC 4180).",
            )
        )
    if not sheet.header and not sheet.problems:
        sheet.problems.append(
            _at(
                file,
                1,
                "the file is empty",
                "There is no header (S-18).",
                "The first line names the columns, separated by commas.",
            )
        )
    return sheet


def _decoded(data: bytes, file: str) -> tuple[str, Problem | None]:
    """UTF-8, or UTF-16 with its mark: S-17 allows any Unicode encoding."""
    begins = data.lstrip()[:1]
    if begins == b"<":
        return "", _at(file, 1, "not a CSV file", "This looks like HTML or XML.", "Export it again, as CSV.")
    if begins in (b"{", b"["):
        return "", _at(file, 1, "not a CSV file", "This looks like JSON.", "Export it again, as CSV.")
    text, problem = text_file.decoded(data, file, summary="not a CSV file", save_as="CSV UTF-8", utf16=True)
    if problem is not None:
        rule = {"not a CSV file": " (S-16).", "file is not UTF-8": " (S-17)."}.get(problem.summary, ".")
        problem = replace(problem, found=problem.found.removesuffix(".") + rule)
    return text, problem


def _form_problems(sheet: Sheet, line: int) -> Iterator[Problem]:
    whole = ",".join(sheet.header)
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if sign in whole:
            yield _at(
                sheet.file,
                line,
                "not comma separated",
                f"The header has {name} (S-19).",
                "Save it with commas; Excel takes the sign from the system's list separator.",
            )
            return
    for name in sorted({name for name in sheet.header if sheet.header.count(name) > 1}):
        yield _at(sheet.file, line, "column named twice", f'"{name}" stands twice in the header.')
    for name in sheet.header:
        if name != name.strip():
            yield _at(
                sheet.file,
                line,
                "blank beside a column name",
                f'"{name}".',
                "Write the names directly after the commas.",
            )
        elif not name:
            yield _at(sheet.file, line, "column without a name", "A comma too many in the header?")


def _header_problems(sheet: Sheet) -> Iterator[Problem]:
    for name in sheet.header:
        if name in COLUMNS or not name.strip():
            continue
        near = next((known for known in COLUMNS if known.lower() == re.sub(r"[\s_-]", "", name).lower()), None)
        yield _at(
            sheet.file,
            1,
            "unknown column",
            f'"{name}" (S-10).',
            f'Write "{near}".' if near else f"The columns are {', '.join(COLUMNS)}, in English.",
        )
    if "EmailAddress" not in sheet.header:
        yield _at(
            sheet.file,
            1,
            "no column EmailAddress",
            "It is required (S-21).",
            "The first line begins with EmailAddress.",
        )


def _members(sheet: Sheet, problems: list[Problem], warnings: list[Problem]) -> Iterator[Member]:
    places = {name: sheet.header.index(name) for name in COLUMNS if name in sheet.header}
    seen: dict[str, int] = {}
    for number, row in enumerate(sheet.rows, 1):
        value = {name: row.values[place] for name, place in places.items()}
        address = value["EmailAddress"]
        folded = address.strip().lower() if address.isascii() else address

        def fault(
            summary: str,
            found: str,
            remedy: str = "",
            number: int = number,
            line: int = row.line,
            severity: Literal["error", "warning"] = "error",
        ) -> Problem:
            return replace(_at(sheet.file, line, summary, f"Row {number}: {found}", remedy), severity=severity)

        if not _ADDRESS.fullmatch(address):
            problems.append(
                fault(
                    "not an address",
                    f'"{address[:80]}" (S-11).' if address else "no address (S-11).",
                    "Write the primary SMTP address alone, as in anna@contoso.com.",
                )
            )
        elif folded.endswith(".onmicrosoft.com"):
            problems.append(
                fault(
                    "address of the cloud",
                    f'"{address}" (S-11).',
                    "Write the primary SMTP address of the source mailbox.",
                )
            )
        if folded in seen and folded:
            problems.append(
                fault("mailbox named twice", f'"{address[:80]}" also stands on line {seen[folded]} (S-11).')
            )
        seen.setdefault(folded, row.line)
        password = value.get("Password") or None
        if password and len(password) < PASSWORD_LENGTH_MIN:
            problems.append(
                fault(
                    "password too short",
                    f"{len(password)} characters (S-12).",
                    f"The tenant's rules ask for {PASSWORD_LENGTH_MIN} or more.",
                )
            )
        word = value.get("ForceChangePassword", "")
        force = {"true": True, "false": False, "": None}.get(word.lower())
        if force is None and word:
            problems.append(
                fault(
                    "neither True nor False",
                    f'ForceChangePassword is "{word[:40]}" (S-13).',
                    "Write True, False or nothing.",
                )
            )
        if force and not password:
            warnings.append(
                fault("ForceChangePassword without Password", "it has no effect (S-13).", severity="warning")
            )
        yield Member(folded, password, force, row.line)


def _at(file: str, line: int, summary: str, found: str = "", remedy: str = "") -> Problem:
    # A row may hold a password: the line itself is not shown.
    return Problem(summary, Mark(file, line, 1), found, remedy)
