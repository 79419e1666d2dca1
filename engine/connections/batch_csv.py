"""The CSV file of a staged batch, as Microsoft's service takes it (S-09 to S-22).

The service makes five checks when the file is chosen: not empty, comma separated, at most 2,000 rows, a column
EmailAddress, every row as long as the header. All of them and the rules for each column are checked here first, and
every fault of the file is told at once, with its row ("CSV files for mailbox migration", Microsoft Learn).
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from engine.connections.csv_sheet import Row, Sheet, at, content, strict_rows
from engine.connections.redaction import remember
from engine.contract import Invalid, Problem

COLUMNS = ("EmailAddress", "Password", "ForceChangePassword")
ROWS_MAX = 2_000  # S-20
#: S-12, and "Password policies and account restrictions in Microsoft Entra ID": three of four kinds of signs.
PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX, PASSWORD_KINDS_MIN = 8, 256, 3
#: What Excel in other languages, and people, write for the English names (S-10).
OTHER_NAMES = {
    "EmailAddress": ("email", "mail", "address", "adresse", "emailadresse", "emailadres", "epost", "epostadress",
                     "epostadresse", "adresseemail", "adresseelectronique", "correoelectronico", "primarysmtpaddress"),
    "Password": ("kennwort", "passwort", "losenord", "passord", "wachtwoord", "motdepasse", "contrasena",
                 "adgangskode"),
    "ForceChangePassword": ("forcepasswordchange", "changepassword", "kennwortandernerzwingen",
                            "kennwortanderungerzwingen"),
}
#: Words for true and false in other languages and programs (S-13).
WORDS = {True: ("yes", "y", "1", "ja", "wahr", "sant", "sann", "waar", "vrai", "oui", "x", "$true"),
         False: ("no", "n", "0", "nein", "nej", "nei", "nee", "falsch", "falskt", "usann", "onwaar", "faux", "non",
                 "$false")}

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_WITHIN = re.compile(r"<([^<>\s]+@[^<>\s]+)>")
_ACCENTS = str.maketrans("äöüåéèêàçñøß", "aouaeeeacnos")


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
        workbook = ", as an Excel workbook" if path.suffix.lower().startswith(".xls") else ""
        raise Invalid([at(name, 1, "not a CSV file", f'The name ends in "{path.suffix}"{workbook}.',
                          "Save the list as .csv or .txt (S-16).")])
    found = parse(content(path, name), name)
    open_to = path.stat().st_mode & 0o077 if os.name == "posix" else 0
    if open_to and any(each.password for each in found.members):
        warning = replace(at(name, 1, "passwords that others can read",
                             f"The file holds passwords, and its mode is {path.stat().st_mode & 0o777:03o} (S-12).",
                             f"chmod 600 {name}; keep it out of version control and delete it after the batch."),
                          severity="warning")
        return replace(found, warnings=(*found.warnings, warning))
    return found


def parse(data: bytes, file: str) -> BatchFile:
    """Like `read`, of bytes."""
    sheet = strict_rows(data, file)
    problems, warnings = sheet.problems, list[Problem]()
    if sheet.header:
        problems += _header_problems(sheet)
        if not sheet.rows and not problems:
            problems.append(at(file, 1, "the file is empty", "There is a header and no row (S-18).",
                               "Write one row per mailbox."))
    if len(sheet.rows) > ROWS_MAX:
        problems.append(at(file, sheet.rows[ROWS_MAX].line, "too many rows",
                           f"{len(sheet.rows):,} rows; a batch takes at most {ROWS_MAX:,} (S-20).",
                           "Let mailmove inventory split make the batches, or split this list: mailmove inventory "
                           f"convert {file} --out FOLDER/NAME.csv"))
    members = list(_members(sheet, problems, warnings))
    if problems:
        problems.sort(key=lambda each: each.mark.line if each.mark else 0)
        raise Invalid(problems)
    return BatchFile(tuple(members), tuple(warnings))


def sign_on_problems(batch: BatchFile, file: str, federated: Collection[str]) -> Iterator[Problem]:
    """With single sign-on ForceChangePassword must be False (S-14). `federated`: domains, lower case."""
    for number, member in enumerate(batch.members, 1):
        domain = member.address.rpartition("@")[2]
        if domain not in federated or member.force_change_password is False:
            continue
        if member.force_change_password:
            yield at(file, member.line, "ForceChangePassword with single sign-on",
                     f"Row {number}: {member.address} asks for True; the people of {domain} sign in at their own "
                     "federation service (AD FS) (S-14).",
                     f"Write False in every row of {domain}, or: mailmove inventory convert --federated {domain}.")
        elif member.password:
            yield replace(at(file, member.line, "ForceChangePassword with single sign-on",
                             f"Row {number}: {member.address} says nothing; {domain} has single sign-on (S-14).",
                             "Write False."), severity="warning")


def write(members: Iterable[Member | str], *, mark: bool = False) -> bytes:
    """The file for these members, in the service's form: UTF-8, optional columns only where used (S-10, S-15, S-17).

    `mark` puts a byte order mark in front, for Excel. Plain text stands for an address.
    """
    rows = [Member(each) if isinstance(each, str) else each for each in members]
    used = (True, any(each.password for each in rows), any(each.force_change_password is not None for each in rows))
    names = [name for name, is_used in zip(COLUMNS, used, strict=True) if is_used]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for each in rows:
        force = "" if each.force_change_password is None else str(each.force_change_password)
        values = {"EmailAddress": each.address, "Password": each.password or "", "ForceChangePassword": force}
        writer.writerow([values[name] for name in names])
    return (b"\xef\xbb\xbf" if mark else b"") + out.getvalue().encode()


def meant(name: str) -> str | None:
    """The column a header's name is meant to be: "Email Address", "E-Mail-Adresse", " Password"; None for none."""
    bare = re.sub(r"[\s_.:-]", "", name.lower().translate(_ACCENTS))
    return next((known for known in COLUMNS if bare == known.lower() or bare in OTHER_NAMES[known]), None)


def _header_problems(sheet: Sheet) -> Iterator[Problem]:
    for name in sheet.header:
        if name in COLUMNS or not name.strip() or name.strip() in COLUMNS:
            continue  # right, or told already by the sheet
        near = meant(name)
        yield at(sheet.file, sheet.line, "unknown column", f'"{name[:80]}" (S-10).',
                 f'Write "{near}".' if near else f"The columns are {', '.join(COLUMNS)}, in English.")
    if not any(name.strip() == "EmailAddress" for name in sheet.header):
        yield at(sheet.file, sheet.line, "no column EmailAddress", "It is required (S-21).",
                 "The first line begins with EmailAddress.")


def _members(sheet: Sheet, problems: list[Problem], warnings: list[Problem]) -> Iterator[Member]:
    """The rows as members. A header that is only meant right is read so, to tell all that is wrong at once."""
    places: dict[str, int] = {}
    for place, name in enumerate(sheet.header):
        if (column := meant(name)) is not None:
            places.setdefault(column, place)
    if "EmailAddress" not in places:
        return
    seen: dict[str, int] = {}
    for number, row in enumerate(sheet.rows, 1):
        if row.crooked:
            continue  # told already; which value is which is not known
        value = {name: row.values[place] for name, place in places.items()}
        for problem in (*_address_problems(sheet.file, number, row, value["EmailAddress"], seen),
                        *_password_problems(sheet.file, number, row, value)):
            (problems if problem.severity == "error" else warnings).append(problem)
        word = value.get("ForceChangePassword", "")
        # The list goes to the service as it is; what it says of the list must not say the passwords.
        remember(value.get("Password", ""), f"password in row {number}")
        yield Member(_folded(value["EmailAddress"]), value.get("Password") or None,
                     {"true": True, "false": False}.get(word.lower()), row.line)


def _folded(address: str) -> str:
    return address.strip().lower() if address.isascii() else address


def _fault(file: str, number: int, row: Row, summary: str, found: str, remedy: str = "",
           severity: Literal["error", "warning"] = "error") -> Problem:
    return replace(at(file, row.line, summary, f"Row {number}: {found}", remedy), severity=severity)


def _address_problems(file: str, number: int, row: Row, address: str, seen: dict[str, int]) -> Iterator[Problem]:
    folded = _folded(address)
    if not _ADDRESS.fullmatch(address):
        within = _WITHIN.search(address)
        bare = within[1] if within else address.strip()
        better = f"Write {bare} alone." if _ADDRESS.fullmatch(bare) and bare != address else (
            "Write the primary SMTP address alone, as in anna@contoso.com.")
        yield _fault(file, number, row, "not an address", f'"{address[:80]}" (S-11).' if address else
                     "no address (S-11).", better)
    elif folded.endswith(".onmicrosoft.com"):
        yield _fault(file, number, row, "address of the cloud", f'"{address}" (S-11).',
                     "Write the primary SMTP address of the source mailbox, not the cloud user's.")
    if folded in seen and folded:
        yield _fault(file, number, row, "mailbox named twice", f'"{address[:80]}" also stands on line {seen[folded]} '
                     "(S-11); upper and lower case are the same.", "Keep one of the rows.")
    seen.setdefault(folded, row.line)


def _password_problems(file: str, number: int, row: Row, value: dict[str, str]) -> Iterator[Problem]:
    """S-12 to S-14. A password is told by its length and kinds of signs only."""
    password = value.get("Password", "")
    if password:
        if len(password) < PASSWORD_LENGTH_MIN or len(password) > PASSWORD_LENGTH_MAX:
            yield _fault(file, number, row, "password too short" if len(password) < PASSWORD_LENGTH_MIN else
                         "password too long", f"{len(password)} characters (S-12).",
                         f"The tenant's rules ask for {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX}.")
        elif not (password.isascii() and password.isprintable()):
            yield _fault(file, number, row, "password of other signs", "it has characters beyond ASCII (S-12).",
                         "Entra ID takes Latin letters, digits, blanks and the signs of an English keyboard.")
        elif password_kinds(password) < PASSWORD_KINDS_MIN:
            yield _fault(file, number, row, "password too simple",
                         f"{password_kinds(password)} of the four kinds of signs (S-12).",
                         "The tenant's rules ask for three of: lower case, upper case, digits, other signs.")
    word = value.get("ForceChangePassword", "")
    if word and word.lower() not in ("true", "false"):
        same = next((str(truth) for truth, words in WORDS.items() if word.strip().lower() in words), None)
        same = same or (word.strip().title() if word.strip().lower() in ("true", "false") else None)
        yield _fault(file, number, row, "neither True nor False", f'ForceChangePassword is "{word[:40]}" (S-13).',
                     f"Write {same}." if same else "Write True, False or nothing.")
    if word.lower() == "true" and not password:
        yield _fault(file, number, row, "ForceChangePassword without Password", "it has no effect (S-13).",
                     "Leave it empty, or give a password.", "warning")


def password_kinds(password: str) -> int:
    """How many of the four: lower case, upper case, digits, other signs."""
    return sum(any(test(sign) for sign in password) for test in (
        str.islower, str.isupper, str.isdigit, lambda sign: not sign.isalnum()))
