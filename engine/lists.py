"""`inventory convert`: a batch's list, as it came from Excel or another system, written anew in the service's form.

Mends what has one right answer – encoding, separator, names of columns, words for true and false, blanks around
values – and, only where asked, what a person has to want: False for domains with single sign-on (S-14), the primary
address in place of a further one (S-11). A list of more than 2,000 rows becomes several, always the same ones (S-02).
"""

from __future__ import annotations

import codecs
import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine import report
from engine.arguments import PROGRAM, as_typed, split_list, to_write
from engine.connections import batch_csv
from engine.connections.batch_csv import ROWS_MAX, WORDS, Member, meant
from engine.connections.csv_sheet import SEPARATORS, content, decoded
from engine.contract import ExitCode, Invalid, Problem, Refusal
from engine.screen import Screen
from engine.world import write_whole


def convert(arguments: Namespace, primary: Mapping[str, str], screen: Screen) -> int:
    """Reads `arguments.file`, writes `arguments.out`. `primary`: further address → primary one. Raises Invalid."""
    source, target = Path(arguments.file), Path(arguments.out)
    if target.suffix.lower() not in (".csv", ".txt"):
        raise Refusal(ExitCode.USAGE, Problem("not a CSV file", found=f'"{target.name}" ends otherwise.',
                                              remedy="Name the new list .csv or .txt (S-16)."))
    members, said = _read(source, _code_page(arguments.code_page), split_list(arguments.federated), primary)
    parts = [members[start:start + ROWS_MAX] for start in range(0, len(members), ROWS_MAX)] or [members]
    width = len(str(len(parts)))
    names = [target] if len(parts) == 1 else [
        target.with_name(f"{target.stem}-{number:0{max(2, width)}}{target.suffix}")
        for number in range(1, len(parts) + 1)]
    for name in names:
        if name.exists():
            raise Refusal(ExitCode.USAGE, Problem("the file is there already", found=f"{name} was left as it is.",
                                                  remedy="Name another with --out."))
    for name, part in zip(names, parts, strict=True):
        data = batch_csv.write(part, mark=arguments.mark)
        batch_csv.parse(data, str(source))  # what a person has to mend is told before anything is written
        with to_write(name):
            write_whole(name, data, 0o600 if any(each.password for each in part) else 0o644)
        screen.line(f"{name}: {len(part):,} mailboxes.")
    screen.lines(f"  {line}" for line in said)
    if any(each.password for each in members):
        screen.line("They hold passwords, and only you can read them. When the service has taken them, destroy them:")
        screen.line("    " + as_typed(["shred", "-u", str(source), *map(str, names)]))
    screen.lines(report.next_step(as_typed([PROGRAM, "check", *map(str, names)])))
    return ExitCode.CONVERGED


def _code_page(name: str | None) -> str:
    try:
        return codecs.lookup(name).name if name else ""
    except LookupError:
        raise Refusal(ExitCode.USAGE, Problem("unknown code page", found=f'"{name}" is not known.',
                                              remedy="As in cp1252 (Western Europe) or cp1250.")) from None


def _read(path: Path, code_page: str, federated: frozenset[str],
          primary: Mapping[str, str]) -> tuple[list[Member], list[str]]:
    """The members, and what was changed in how many rows."""
    text, problem = decoded(content(path, str(path)), str(path), code_page)
    if problem is not None:
        raise Invalid([problem])
    head = text.partition("\n")[0]
    separator = next((sign for sign in SEPARATORS if sign in head and "," not in head), ",")
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if any(map(str.strip, row))]
    places = {meant(name): place for place, name in enumerate(rows[0])} if rows else {}
    if "EmailAddress" not in places:
        batch_csv.parse(text.encode(), str(path))  # says what is wrong with the header
    crooked = [number for number, row in enumerate(rows[1:], 1) if len(row) != len(rows[0])]
    if crooked:
        raise Invalid([Problem("wrong number of values", found=f"{path}: row {crooked[0]} has {len(rows[crooked[0]])} "
                               f"values, the header {len(rows[0])} (S-22).", remedy="Mend it by hand: which value "
                               "belongs to which column cannot be told.")])
    changed = {"to False, for single sign-on": 0, "to the primary address": 0}
    members = []
    for row in rows[1:]:
        value = {name: row[place].strip() for name, place in places.items() if name is not None}
        address, force = value.get("EmailAddress", "").lower(), _truth(value.get("ForceChangePassword", ""))
        if address in primary:
            address = primary[address]
            changed["to the primary address"] += 1
        if address.rpartition("@")[2] in federated and force is not False:
            force = False
            changed["to False, for single sign-on"] += 1
        members.append(Member(address, value.get("Password") or None, force))
    return members, [f"{count:,} rows changed {what}" for what, count in changed.items() if count]


def _truth(word: str) -> bool | None:
    lower = word.lower()
    return next((truth for truth, words in WORDS.items() if lower in words or lower == str(truth).lower()), None)


def primary_addresses(keys: Sequence[str], aliases: Sequence[Sequence[str]]) -> dict[str, str]:
    """Further address → primary one, of the inventory's mailboxes."""
    return {alias.lower(): key for key, further in zip(keys, aliases, strict=True) for alias in further}
