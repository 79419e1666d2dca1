"""Rows from CSV files and inline lists, normalised: addresses and domains folded, derived columns, twins refused."""

from __future__ import annotations

import difflib
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.connections import csv_sheet, text_file
from engine.contract import Invalid, Mark, Plain, Problem
from engine.language.inventory_schema import KEYS
from engine.language.rows import Table
from engine.language.schema import TRUE_FALSE, WHOLE, Kind, WrongType
from engine.language.source import ListNode, MapNode, Node, Scalar, plain, shortened
from engine.world import lies_in

#: columns of several values, separated by ; in CSV
LISTS = frozenset({"aliases", "members"})
TYPED: dict[tuple[str, str], Kind] = {("mailboxes", "items"): WHOLE, ("groups", "security"): TRUE_FALSE}
#: columns an expression may read whether or not they were written
USUAL = {
    "servers": ("exchange", "endpoint", "pilot"),
    "databases": ("server",),
    "domains": ("probe_address",),
    "mailboxes": ("type", "server", "database", "items", "batch", "sku", "usage_location"),
    "recipients": ("type",),
    "groups": ("security", "managed_by"),
    "batches": ("csv", "endpoint"),
}
_LOCAL_PART = re.compile(r"[^\s@<>,;:()\[\]\\\"\u00ad\u200b-\u200f\u2060-\u2064]{1,64}")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: letters that older and newer IDNA map differently, and dots that are none: never guessed (D7 of the safety notes)
_DEVIATING = re.compile("[\u3002\uff0e\uff61\u00df\u03c2\u200c\u200d]")

#: scripts that one language writes side by side
_WRITTEN_TOGETHER = frozenset({"Cjk", "Hiragana", "Katakana", "Katakana-Hiragana", "Latin"})


def folded(text: str) -> str:
    """Lower case, ASCII letters only: the Kelvin sign is no k."""
    return text.lower() if text.isascii() else "".join(sign.lower() if sign.isascii() else sign for sign in text)


def domain_name(text: str) -> str:
    """A domain in A-label form without the trailing dot. Raises ValueError with the reason.

    A label of two scripts reads like another one and is refused (Unicode Technical Standard 39, section 5.1);
    whoever means it writes its xn-- form.
    """
    name = folded(text.strip()).removesuffix(".")
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
        if _DEVIATING.search(name):
            raise ValueError(f'"{name}" has a sign that is read in two ways; write its xn-- form')
        for label in name.split("."):
            scripts = sorted({unicodedata.name(sign, "?").split()[0].title() for sign in label if sign.isalpha()})
            if len(scripts) > 1 and not _WRITTEN_TOGETHER.issuperset(scripts):
                raise ValueError(f'"{label}" mixes letters of two scripts, {" and ".join(scripts)}, and reads like '
                                 "another name; if it is meant, write its xn-- form")
        import idna

        try:
            name = idna.encode(name).decode()
        except idna.IDNAError:
            raise ValueError(f'"{name}" is not a domain name') from None
    if "." not in name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f'"{shortened(name)}" is not a domain name, as in contoso.com')
    return name


class Reader:
    """Reads the rows of one inventory; problems of all files are collected."""

    def __init__(self, folder: Path, problems: list[Problem]) -> None:
        self.folder = folder
        self.problems = problems
        self._domains: dict[str, str] = {}
        self._lines: list[str] = []
        self._node: ListNode | None = None
        self._shared: dict[Any, Any] = {}

    def table(
        self, kind: str, node: Node | None, finish: Callable[[Table, list[list[Plain]]], None] | None = None
    ) -> Table:
        """The rows of a kind. `finish` may still change the raw rows, before they are made tuples."""
        table = Table(kind, KEYS[kind], written=node is not None)
        self._lines, self._node = [], None
        rows: list[list[Plain]] = []
        if isinstance(node, Scalar) and not node.empty:
            rows = self._from_csv(table, node)
        elif isinstance(node, ListNode):
            rows = self._inline(table, node)
        if table.key_column not in table.columns:
            if rows:
                near = difflib.get_close_matches(table.key_column, table.columns, 1, 0.6)
                self._say(
                    table,
                    0,
                    "no key column",
                    f'The rows of {kind} need the column "{table.key_column}".',
                    f'Is "{near[0]}" meant? Write "{table.key_column}" in its place.' if near else "",
                )
            rows = []
        for name in (table.key_column, "name", *USUAL[kind]):
            self._column(table, rows, name)
        self._normalise(table, rows)
        if finish is not None:
            finish(table, rows)
        table.rows = [tuple(row) for row in rows]
        return table

    def path(self, node: Scalar) -> Path | None:
        """A file named in the inventory, beside it or below (I3 of the safety notes); else None, and a problem."""
        text = node.text
        path = Path(text)
        if (path.is_absolute() or ".." in path.parts or "\0" in text or "\\" in text or re.match("[A-Za-z]:", text)
                or not lies_in(self.folder / path, self.folder)):
            self.problems.append(
                node.problem(
                    "file outside of the migration",
                    found=f'"{shortened(text)}".',
                    remedy="Put it beside the inventory or in a folder below it.",
                )
            )
            return None
        return self.folder / path

    # ------------------------------------------------------------------------------------------- reading

    def _from_csv(self, table: Table, node: Scalar) -> list[list[Plain]]:
        path = self.path(node)
        if path is None:
            return []
        table.file = str(path)
        try:
            data = csv_sheet.content(path, table.file)
        except Invalid as invalid:
            said = invalid.problems[0]
            self.problems.append(node.problem(said.summary, found=said.found, remedy=said.remedy))
            return []
        sheet = csv_sheet.strict_rows(data, table.file)
        if sheet.problems:
            self.problems += sheet.problems
            return []
        self._lines = data.decode("utf-8-sig", "replace").split("\n")
        table.columns = {name: place for place, name in enumerate(sheet.header)}
        table.lines = array("l", (row.line for row in sheet.rows))
        lists = [name in LISTS for name in sheet.header]
        share = self._shared.setdefault
        if any(lists):
            return [
                [
                    _split(value) if many else share(value, value) if value else None
                    for value, many in zip(row.values, lists, strict=True)
                ]
                for row in sheet.rows
            ]
        return [[share(value, value) if value else None for value in row.values] for row in sheet.rows]

    def _inline(self, table: Table, node: ListNode) -> list[list[Plain]]:
        table.file = node.source.file
        self._node = node
        written = []
        for item in node.items:
            if isinstance(item, MapNode):
                values = {name: plain(value) for name, (_, value) in item.entries.items() if not name.startswith("\0")}
                written.append(values)
                table.lines.append(item.mark.line)
                for name in values:
                    table.columns.setdefault(name, len(table.columns))
        self._lines = node.source.text.split("\n")
        return [
            [
                _split(value) if name in LISTS and isinstance(value, str) else value
                for name in table.columns
                for value in (values.get(name),)
            ]
            for values in written
        ]

    def _column(self, table: Table, rows: list[list[Plain]], name: str) -> int:
        if name not in table.columns:
            table.columns[name] = len(table.columns)
            for row in rows:
                row.append(None)
        return table.columns[name]

    # --------------------------------------------------------------------------------------- normalising

    def _normalise(self, table: Table, rows: list[list[Plain]]) -> None:
        kind, key_place, name_place = table.kind, table.columns[table.key_column], table.columns["name"]
        self._type(table, rows)
        addressed = table.key_column == "address"
        if addressed:
            everything = self._column(table, rows, "all_addresses")
            aliases = self._column(table, rows, "aliases")
        elif kind == "domains":
            zone, label = self._column(table, rows, "zone"), self._column(table, rows, "label")
        user_type = table.columns.get("type") if kind == "mailboxes" else None
        if kind == "groups":
            self._column(table, rows, "members")
        keys = []
        for place, row in enumerate(rows):
            key = row[key_place]
            if not isinstance(key, str) or not key.strip():
                self._say(table, place, "row without a key", f"{table.key_column} is empty.")
                keys.append(f"\0{place}")
                continue
            if addressed:
                key = row[key_place] = self._address(table, place, key)
                others = tuple(self._address(table, place, str(each)) for each in _listed(row[aliases]))
                row[aliases] = others
                row[everything] = (key, *others)
            elif kind == "domains":
                key = row[key_place] = self._domain(table, place, key)
                row[zone] = self._domain(table, place, str(row[zone])) if row[zone] else key
                row[label] = self._label(table, place, key, str(row[zone]))
            else:
                key = row[key_place] = key.strip()
            if user_type is not None and row[user_type] is None:
                row[user_type] = "user"
            if row[name_place] is None:
                row[name_place] = key
            keys.append(key)
        table.keys = tuple(keys)
        self._index(table, rows, table.columns.get("all_addresses"))

    def _type(self, table: Table, rows: list[list[Plain]]) -> None:
        for name, column in table.columns.items():
            typing = TYPED.get((table.kind, name))
            for place, row in enumerate(rows) if typing else ():
                value = row[column]
                if isinstance(value, str) and typing is TRUE_FALSE:
                    value = value.lower()  # Excel writes TRUE
                try:
                    row[column] = None if value is None else typing.typed(value) if typing else value
                except WrongType as wrong:
                    self._say(
                        table,
                        place,
                        "wrong type",
                        f"{name}: found {wrong}.",
                        f"What would work: {typing.words if typing else ''}.",
                    )

    def _index(self, table: Table, rows: list[list[Plain]], addresses: int | None) -> None:
        seen: dict[str, int] = {}
        for place, key in enumerate(table.keys):
            names = rows[place][addresses] if addresses is not None else None
            for name in names if isinstance(names, tuple) else (key,):
                first = seen.setdefault(str(name), place)
                if first != place:
                    self._say(
                        table,
                        place,
                        "named twice" if name == key == table.keys[first] else "address used twice",
                        f"{name} also stands at {table.mark(first)}.",
                        "Every address belongs to one row; upper and lower case are the same.",
                    )
        table.positions = {key: place for place, key in enumerate(table.keys)}

    def _address(self, table: Table, place: int, text: str) -> str:
        local, at, domain = text.strip().rpartition("@")
        known = self._domains.get(domain)
        try:
            if not at or not _LOCAL_PART.fullmatch(local):
                raise ValueError(f'"{shortened(text)}" is not an address, as in anna@contoso.com')
            if known is None:
                known = self._domains[domain] = domain_name(domain)
        except ValueError as error:
            self._say(table, place, "not an address", f"{error}.", "Write the address alone, without name or brackets.")
            return folded(text.strip())
        return f"{folded(local)}@{known}"

    def _domain(self, table: Table, place: int, text: str) -> str:
        try:
            return domain_name(text)
        except ValueError as error:
            self._say(table, place, "not a domain", f"{error}.")
            return text

    def _label(self, table: Table, place: int, domain: str, zone: str) -> str:
        if domain == zone:
            return "@"
        if not domain.endswith("." + zone):
            self._say(
                table,
                place,
                "domain outside of its zone",
                f"{domain} is not below {zone}.",
                "zone is the domain itself, or one it ends in.",
            )
        return domain.removesuffix("." + zone)

    # ------------------------------------------------------------------------------------------- telling

    def _say(self, table: Table, place: int, summary: str, found: str, remedy: str = "") -> None:
        if len(self.problems) < text_file.PROBLEMS_KEPT_MAX:
            self.problems.append(self.at(table, place, summary, found, remedy))

    def at(self, table: Table, place: int, summary: str, found: str, remedy: str = "") -> Problem:
        """A problem at a row of the table that is being read."""
        if self._node is not None and place < len(self._node.items):
            return self._node.items[place].problem(summary, found=found, remedy=remedy)
        line = table.lines[place] if place < len(table.lines) else 1
        text = self._lines[line - 1].rstrip("\r") if line <= len(self._lines) else ""
        return Problem(summary, Mark(table.file, line, 1, max(1, len(text))), found, remedy, line_text=text)


def _split(value: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in value.split(";") if each.strip())


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, tuple) else ()


def twins_across(tables: Sequence[Table]) -> Iterator[Problem]:
    """Addresses that stand in two kinds: an address is one thing in the world."""
    seen: dict[str, tuple[Table, int]] = {}
    for table in tables:
        column = table.columns.get("all_addresses")
        for place, row in enumerate(table.rows) if column is not None else ():
            for address in _listed(row[column or 0]):
                other, first = seen.setdefault(str(address), (table, place))
                if other is not table:
                    yield Problem(
                        "address used twice",
                        table.mark(place),
                        f"{address} is also one of the {other.kind}, at {other.mark(first)}.",
                        "Keep it in one of the two.",
                    )
