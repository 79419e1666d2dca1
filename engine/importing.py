"""`inventory import`: the rows that Active Directory knows, beside the rows there are – shown first, written on demand.

A column is either the directory's (address, name, server …: brought up to date) or the user's (batch, sku, items and
every column we do not know: never touched; usage_location is filled where it is empty). A row that the directory does
not show any more is kept and named. A file is written whole or not at all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import report
from engine.connections import csv_sheet
from engine.contract import ExitCode, Invalid, Problem, Refusal, Rejected

if TYPE_CHECKING:
    from engine.connections import Site
    from engine.connections.directory_survey import Survey

#: kind → the columns the directory knows, the key first
DIRECTORYS = {
    "mailboxes": ("address", "name", "type", "aliases", "server", "database", "exchange", "hidden", "manager",
                  "delegates"),
    "recipients": ("address", "name", "type", "target_address", "aliases"),
    "groups": ("address", "name", "security", "aliases", "members", "managed_by"),
    "domains": ("domain",),
    "servers": ("server", "exchange"),
    "databases": ("database", "server"),
}
#: columns beside them that a new file begins with: the user's, and filled only where they are empty
USERS = {"mailboxes": ("items", "batch", "sku", "usage_location"), "domains": ("zone", "probe_address")}
#: kinds compared when none is named; a database matters to few migrations
USUAL = ("servers", "domains", "mailboxes", "recipients", "groups")
LINES_MAX = 12

Row = dict[str, str]


def item_counts(site: Site, survey: Survey) -> dict[str, int]:
    """Items by address, of those mailboxes that can be counted; the others are left out."""
    found = {}
    for address in survey.mailboxes:
        try:
            found[address] = site.ews.count(address).items
        except Rejected:  # a no about one mailbox; an outage is no answer about any, and is raised
            continue
    return found


def rows_of(survey: Survey, items: Mapping[str, int]) -> dict[str, list[Row]]:
    """Every kind's rows, as text, sorted by key; several values are separated by `;`."""
    usual = {name: first for first, name in reversed([
        (address, address.rpartition("@")[2]) for address, one in survey.mailboxes.items()
        if not one.recipient.hidden])}
    return {
        "servers": [{"server": each.host or each.name.lower(), "exchange": each.release} for each in survey.servers],
        "databases": [{"database": each.name, "server": each.server} for each in survey.databases],
        "domains": [{"domain": name, "zone": name, "probe_address": usual.get(name, "")} for name in survey.domains],
        "mailboxes": [{
            "address": address, "name": one.recipient.name or address, "type": one.recipient.type,
            "aliases": ";".join(sorted({proxy[5:].lower() for proxy in one.recipient.proxies
                                        if proxy[:5].lower() == "smtp:"} - {address})),
            "server": one.recipient.server, "database": one.database, "exchange": one.release,
            "hidden": "true" if one.recipient.hidden else "", "manager": one.manager,
            "delegates": ";".join(one.delegates), "usage_location": one.country,
            "items": str(items.get(address, "")),
        } for address, one in survey.mailboxes.items()],
        "recipients": [{
            "address": address, "name": one.name or address, "type": one.type, "target_address": one.target_address,
            "aliases": ";".join(one.aliases),
        } for address, one in survey.contacts.items()],
        "groups": [{
            "address": address, "name": one.name or address, "security": "true" if one.security else "false",
            "aliases": ";".join(one.aliases), "members": ";".join(one.members), "managed_by": one.managed_by,
        } for address, one in survey.groups.items()],
    }


@dataclass
class Merged:
    """The rows of one kind after an import. gone: keys kept although the directory does not show them."""

    kind: str
    columns: list[str]
    rows: list[Row]
    added: list[Row] = field(default_factory=list)
    changed: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        return bool(self.added or self.changed)


def merged(kind: str, columns: Sequence[str], there: Iterable[Row], found: Sequence[Row], *, whole: bool) -> Merged:
    """`found` over the rows that are there. whole: all rows were asked for, so that a missing one is gone."""
    owned = DIRECTORYS[kind]
    key = owned[0]
    fresh = {row[key].lower(): row for row in found}
    answer = Merged(kind, list(columns), [])
    for row in there:
        name = row.get(key, "").lower()
        new = fresh.pop(name, None)
        if new is None:
            answer.rows.append(row)
            if whole and name:
                answer.gone.append(row[key])
            continue
        after = dict(row)
        for column, value in new.items():
            if column != key and (column in owned or (value and not row.get(column))):
                after[column] = _cell(value)
        differences = [(column, row.get(column, ""), value) for column, value in after.items()
                       if row.get(column, "") != value]
        if differences:
            answer.changed[row[key]] = differences
        answer.rows.append(after)
    answer.added = [{column: _cell(value) for column, value in row.items()} for row in fresh.values()]
    answer.rows += answer.added
    wanted = [*owned, *USERS.get(kind, ())] if not columns else [
        column for column in owned if column in columns or any(row.get(column) for row in answer.rows)]
    answer.columns += [column for column in wanted if column not in answer.columns]
    return answer


def read(path: Path) -> tuple[list[str], list[Row], str]:
    """Columns, rows and line end of a CSV file; empty where there is none. Raises Invalid for one that is broken."""
    if not path.exists():
        return [], [], "\n"
    data = csv_sheet.content(path, str(path))
    sheet = csv_sheet.strict_rows(data, str(path))
    if sheet.problems:
        raise Invalid(sheet.problems)
    end = "\r\n" if b"\r\n" in data else "\n"
    return list(sheet.header), [dict(zip(sheet.header, row.values, strict=True)) for row in sheet.rows], end


def text(found: Merged, end: str) -> str:
    """The whole file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(found.columns)
    writer.writerows([row.get(column, "") for column in found.columns] for row in found.rows)
    return out.getvalue()


def shown(found: Merged, place: str, *, every: bool) -> Iterator[str]:
    """What an import would do to one file: counts, then new, changed and kept rows; the first of each, or every one."""
    counts = [f"{len(found.added):,} new", f"{len(found.changed):,} changed"]
    if found.gone:
        counts.append(f"{len(found.gone):,} not in the directory and kept")
    same = len(found.rows) - len(found.added) - len(found.changed) - len(found.gone)
    yield f"{place}: {', '.join(counts)}, {same:,} as they were"
    key = DIRECTORYS[found.kind][0]
    yield from _some([f"  + {row[key]}  {_words(row, key)}".rstrip() for row in found.added], every)
    yield from _some([f"  ~ {name}  " + "; ".join(
        f"{column}: {was or 'empty'} → {now or 'empty'}" for column, was, now in differences)
        for name, differences in found.changed.items()], every)
    yield from _some([f"  = {name}  kept" for name in found.gone], every)


def as_lines(found: Merged) -> Iterator[str]:
    """New rows of a kind that stands in the inventory itself, in the form to be put there."""
    for row in found.added:
        cells = ", ".join(f"{column}: {_yaml(value)}" for column, value in row.items() if value)
        yield f"    - {{{cells}}}"


def narrowing(arguments: Any) -> Any:
    """What the command's options leave of the mailboxes. Raises Refusal for an LDAP filter that is none."""
    from engine.connections.directory_survey import Narrowed

    given = arguments.filter or ""
    if given.count("(") != given.count(")") or (given and "=" not in given):
        raise Refusal(ExitCode.USAGE, Problem(
            "the command line cannot be understood", found=f'--filter "{given}" is no LDAP filter.',
            remedy="As in --filter '(department=Sales)' (RFC 4515)."))
    return Narrowed(base=arguments.ou or "", text=given, group=arguments.group or "", server=arguments.server or "",
                    database=arguments.database or "", release=arguments.exchange or "")


def _some(lines: Sequence[str], every: bool) -> Iterator[str]:
    cut = len(lines) if every or len(lines) <= LINES_MAX else LINES_MAX - 1
    yield from (report.shorten(line, report.COLUMNS) if not every else line for line in lines[:cut])
    if cut < len(lines):
        yield f"    … and {len(lines) - cut:,} more (--diff shows all)"


def _words(row: Row, key: str) -> str:
    return ", ".join(value for column, value in row.items()
                     if value and column not in (key, "aliases", "members", "delegates", "usage_location", "items"))


def _cell(value: str) -> str:
    """A cell that a spreadsheet would run as a formula is kept from running."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _yaml(value: str) -> str:
    plain = value and value.replace(".", "").replace("-", "").isalnum() and not value.replace(".", "").isdigit()
    return value if plain or "@" in value else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
