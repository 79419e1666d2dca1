"""`inventory convert`: a batch's list, as it came from Excel or another system, written anew in the service's form.

Mends what has one right answer – encoding, separator, names of columns, words for true and false, blanks around
values – and, only where asked, what a person has to want: False for domains with single sign-on (S-14), the primary
address in place of a further one (S-11), an initial password for who has none (S-12). A list of more than 2,000 rows
becomes several, always the same ones (S-02).
"""

from __future__ import annotations

import codecs
import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engine import report
from engine.arguments import PROGRAM, as_typed, split_list, to_write
from engine.connections import batch_csv
from engine.connections.batch_csv import ROWS_MAX, WORDS, Member, meant
from engine.connections.csv_sheet import SEPARATORS, content, decoded
from engine.connections.initial_passwords import made
from engine.contract import ExitCode, Invalid, Problem, Refusal
from engine.screen import Screen
from engine.world import World, write_whole


def convert(arguments: Namespace, primary: Mapping[str, str], screen: Screen, world: World) -> int:
    """Reads `arguments.file`, writes `arguments.out`. `primary`: further address → primary one. Raises Invalid."""
    source, target = Path(arguments.file), Path(arguments.out)
    federated = split_list(arguments.federated)
    members, said = _read(source, _code_page(arguments.code_page), federated, primary)
    given: list[Member] = []
    secret = [source] if any(each.password for each in members) else []
    if arguments.passwords:
        members, given = with_passwords(members, federated, world)
        said.append(f"{len(given):,} rows given an initial password, to be changed at the first sign-in")
    lists = _parts(members, target)
    handed = {Path(arguments.passwords): given} if given else {}
    for path in (*handed, *lists):
        option = "--passwords" if path in handed else "--out"
        if path.suffix.lower() not in (".csv", ".txt"):
            raise Refusal(ExitCode.USAGE, Problem("not a CSV file", found=f'"{path.name}" ends otherwise.',
                                                  remedy=f"Name the file of {option} .csv or .txt (S-16)."))
        if path.exists() or (path in handed and path in lists):
            raise Refusal(ExitCode.USAGE, Problem("the file is there already", found=f"{path} was left as it is.",
                                                  remedy=f"Name another with {option}."))
    contents = {path: batch_csv.write(part, mark=arguments.mark) for path, part in lists.items()}
    for data in contents.values():
        batch_csv.parse(data, str(source))  # what a person has to mend is told before anything is written
    contents = {path: batch_csv.write(part) for path, part in handed.items()} | contents
    for path, part in (handed | lists).items():  # no list is there whose passwords nobody was told
        with to_write(path):
            write_whole(path, contents[path], 0o600 if any(each.password for each in part) else 0o644)
    for path, part in lists.items():
        screen.line(f"{path}: {len(part):,} mailboxes.")
    screen.lines(f"  {line}" for line in said)
    for path in handed:
        screen.line(f"{path}: what to hand over, to each person their own, and not by mail (C-24).")
    if any(each.password for each in members):
        screen.line("They hold passwords, and only you can read them. When the service has taken them, destroy them:")
        screen.line("    " + as_typed(["shred", "-u", *map(str, (*secret, *contents))]))
    screen.lines(report.next_step(as_typed([PROGRAM, "check", *map(str, lists)])))
    return ExitCode.CONVERGED


def with_passwords(members: Sequence[Member], federated: frozenset[str],
                   world: World) -> tuple[list[Member], list[Member]]:
    """All members, each with a password, and those who were given one here.

    People of a `federated` domain sign in elsewhere and need none.
    """
    all_of_them, given = [], []
    for each in members:
        if not each.password and each.address.rpartition("@")[2] not in federated:
            each = replace(each, password=made(world.unguessable, each.address), force_change_password=True)
            given.append(Member(each.address, each.password))
        all_of_them.append(each)
    return all_of_them, given


def _parts(members: list[Member], target: Path) -> dict[Path, list[Member]]:
    """The list, or as many as the service's limit makes of it (S-20)."""
    parts = [members[start:start + ROWS_MAX] for start in range(0, len(members), ROWS_MAX)] or [members]
    if len(parts) == 1:
        return {target: members}
    width = max(2, len(str(len(parts))))
    return {target.with_name(f"{target.stem}-{number:0{width}}{target.suffix}"): part
            for number, part in enumerate(parts, 1)}


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
