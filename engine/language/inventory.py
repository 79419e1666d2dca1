"""`inventory.yml` and the files beside it: settings, rows, relations, windows, connections.

Secrets stay named. Nothing is contacted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.connections import batch_csv
from engine.connections.secrets import written_out
from engine.contract import Invalid, Mark, Plain, Problem, Window
from engine.language import batch_lists, relations, source
from engine.language.inventory_schema import CONNECTIONS, DAYS, INVENTORY, KINDS
from engine.language.rows import ORGANISATION, Rows, Table
from engine.language.schema import DURATION, WHOLE, WrongType, compiled, faults
from engine.language.source import Document, MapNode, Node, Scalar, plain, shortened
from engine.language.tables import Reader, twins_across
from engine.world import is_folder

PLAIN_SETTINGS = ("migration", "type", "exchange", "tenant", "budget", "administrator", "planned_end")


class Inventory(Rows):
    """A migration's inventory: `contract.Rows`, and

    settings     the plain settings (migration, type, exchange, tenant, budget), numbers typed
    vars         the lowest level of variables; var_nodes: where each was written
    connections  by name, as written, ports typed; a Secret is not opened
    tell         who is told of what stops a run: mail, late_after (timedelta)
    letters      folder of the migration's own letters; None: the shipped ones only
    windows, clock, warnings, file
    """

    def __init__(self, file: Path, tables: Mapping[str, Table]) -> None:
        super().__init__(tables)
        self.file = file
        self.settings: Mapping[str, Plain] = {}
        self.vars: Mapping[str, Any] = {}
        self.var_nodes: Mapping[str, Node] = {}
        self.connections: Mapping[str, Mapping[str, Any]] = {}
        self.windows: Mapping[str, Window] = {}
        self.clock: Mapping[str, Any] | None = None
        self.letters: Path | None = None
        self.tell: Mapping[str, Any] = {}
        self.warnings: tuple[Problem, ...] = ()


def load(path: Path) -> Inventory:
    """The inventory. Raises Invalid with all problems of all its files."""
    inventory, problems = examine(path)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or inventory is None:
        raise Invalid(errors)
    return inventory


def examine(path: Path) -> tuple[Inventory | None, list[Problem]]:
    """The inventory as far as it can be made, and everything wrong with it, warnings among it. Never raises."""
    document = source.read(path)
    problems = list(document.problems)
    root = document.root
    if not isinstance(root, MapNode):
        if not problems:
            problems.append(_whole(document, path))
        return None, problems
    problems += faults(root, compiled(INVENTORY), "inventory", "setting")
    inventory = _Loading(path, root, problems).inventory()
    inventory.warnings = tuple(problem for problem in problems if problem.severity == "warning")
    return inventory, problems


def _whole(document: Document, path: Path) -> Problem:
    summary, remedy = "not an inventory", "An inventory is a mapping that begins with migration: and type:."
    if document.root is None:
        return Problem(summary, Mark(str(path), 1, 1), "The file is empty.", remedy)
    return document.root.problem(summary, found=f"Found {document.root.words}.", remedy=remedy)


#: settings of a connection that name a file
FILES = ("file", "ca_file")


class _Loading:
    def __init__(self, path: Path, root: MapNode, problems: list[Problem]) -> None:
        self.path = path
        self.root = root
        self.problems = problems
        self.reader = Reader(path.parent, problems)
        #: who is in which batch by the batches' CSV files: address → (batch, line, file)
        self.members: dict[str, tuple[str, Mark]] = {}
        self.lists: dict[str, tuple[str, batch_csv.BatchFile]] = {}
        self.bad_batches: set[str] = set()

    def inventory(self) -> Inventory:
        settings = self._settings()
        rows = self._mapping("rows")
        tables = {kind: Table(kind, "") for kind in KINDS}  # in the order of KINDS
        for kind in ("batches", *(kind for kind in KINDS if kind not in (ORGANISATION, "batches"))):
            finish = self._read_batches if kind == "batches" else self._enrol if kind == "mailboxes" else None
            if kind == "mailboxes":
                self.batches = tables["batches"]
            tables[kind] = self.reader.table(kind, rows.get(kind) if rows else None, finish)
        tables[ORGANISATION] = _organisation(settings, self.root)
        self.problems += batch_lists.strangers(self.members, tables)
        self.problems += batch_lists.sign_on(self.lists, tables["domains"])
        self.problems += twins_across([tables["mailboxes"], tables["groups"]])
        found = Inventory(self.path, tables)
        found.settings = MappingProxyType(settings)
        self.problems += relations.relate(found, self._mapping("relations"))
        self.problems += relations.foreign_domains(found, settings)
        variables = self._mapping("vars")
        if variables is not None:
            found.vars = plain(variables)
            found.var_nodes = {name: node for name, (_, node) in variables.entries.items()}
        found.connections = self._connections()
        found.windows = self._windows()
        found.letters = self._letters()
        found.tell = self._tell(found.connections)
        clock = self._mapping("clock")
        found.clock = plain(clock) if clock is not None else None
        return found

    def _mapping(self, name: str) -> MapNode | None:
        node = self.root.get(name)
        return node if isinstance(node, MapNode) else None

    def _settings(self) -> dict[str, Plain]:
        found: dict[str, Plain] = {
            name: plain(node) for name in PLAIN_SETTINGS if (node := self.root.get(name)) is not None
        }
        if isinstance(budget := found.get("budget"), Mapping):
            found["budget"] = {
                name: int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
                for name, value in budget.items()
            }
        if isinstance(tenant := found.get("tenant"), Mapping) and isinstance(domain := tenant.get("domain"), str):
            found["tenant"] = {**tenant, "domain": domain.lower()}
        if isinstance(end := found.get("planned_end"), str):
            try:
                found["planned_end"] = datetime.fromisoformat(end).replace(tzinfo=UTC)
            except ValueError:
                node = self.root.get("planned_end")
                if node is not None and re.fullmatch(r"\d{4}-\d{2}-\d{2}", end):  # of another form the schema has told
                    self.problems.append(node.problem("no such day", found=f'"{end}".', remedy="As in 2026-12-18."))
        return found

    # ------------------------------------------------------------------------------------------- batches

    def _read_batches(self, table: Table, rows: list[list[Plain]]) -> None:
        column = table.columns["csv"]
        if self._is_cutover():
            self.problems += batch_lists.cutover(table, [row[column] for row in rows], self.reader.at)
        for place, row in enumerate(rows):
            name = row[column]
            if not isinstance(name, str):
                continue
            node = self._csv_node(place, name)
            path = self.reader.path(node) if node is not None else self.path.parent / name
            if path is None:
                self.bad_batches.add(table.keys[place])
                continue
            row[column] = str(path)
            try:
                batch = batch_csv.read(path)
            except Invalid as invalid:
                self.problems += invalid.problems
                self.bad_batches.add(table.keys[place])
                continue
            self.problems += batch.warnings
            self.lists[table.keys[place]] = str(path), batch
            for member in batch.members:
                mark = Mark(str(path), member.line, 1)
                other, first = self.members.setdefault(member.address, (table.keys[place], mark))
                if other != table.keys[place]:
                    self.problems.append(
                        Problem(
                            "mailbox in two batches",
                            mark,
                            f"{member.address} is also in {other}, at {first} (S-33).",
                            "A mailbox is in one batch: take it out of one of them.",
                        )
                    )

    def _csv_node(self, place: int, text: str) -> Scalar | None:
        rows = self._mapping("rows")
        listed = rows.get("batches") if rows else None
        items = listed.items if isinstance(listed, source.ListNode) else []
        row = items[place] if place < len(items) else None
        node = row.get("csv") if isinstance(row, MapNode) else None
        if isinstance(node, Scalar):
            return node
        return listed if isinstance(listed, Scalar) and text.startswith(("/", "..")) else None

    def _enrol(self, table: Table, rows: list[list[Plain]]) -> None:
        """Each mailbox's batch: its column, the batches' CSV files, or the only batch of a cutover; they must agree."""
        column = table.columns["batch"]
        batches = self.batches
        listed = {batches.keys[place] for place, row in enumerate(batches.rows) if row[batches.columns["csv"]]}
        only = batches.keys[0] if len(batches.keys) == 1 and not listed and self._is_cutover() else None
        for place, row in enumerate(rows):
            member = self.members.get(table.keys[place])
            said = row[column]
            if said is None:
                row[column] = member[0] if member else only
            elif member is not None and member[0] != said:
                self.problems.append(
                    self.reader.at(
                        table,
                        place,
                        "batches disagree",
                        f"{table.keys[place]} is in {said} here and in {member[0]} at {member[1]}.",
                        "Let both say the same, or leave the column batch out.",
                    )
                )
            elif member is None and said in listed and said not in self.bad_batches:
                self.problems.append(
                    self.reader.at(
                        table,
                        place,
                        "batches disagree",
                        f"{table.keys[place]} is in {said} here, and not in its CSV file.",
                        "Let both say the same, or leave the column batch out.",
                    )
                )

    def _is_cutover(self) -> bool:
        node = self.root.get("type")
        return isinstance(node, Scalar) and node.text == "cutover"

    def _letters(self) -> Path | None:
        node = self.root.get("letters")
        if not isinstance(node, Scalar) or node.empty:
            return None
        folder = self.reader.path(node)
        if folder is not None and not is_folder(folder):
            self.problems.append(node.problem("folder not found", found=f"There is no folder {folder}.",
                                              remedy="Make it, with a file NAME.txt for each letter in your words."))
            return None
        return folder

    def _tell(self, connections: Mapping[str, Any]) -> Mapping[str, Any]:
        node = self._mapping("tell")
        said = plain(node) if node is not None else {}
        if node is not None and said.get("mail") and "smtp" not in connections:
            self.problems.append(source_of(node, "mail").problem(
                "nothing to send mail by", found="tell.mail is sent by the connection smtp, which is not named.",
                remedy="Add connections: smtp:, or a connection webhook: instead of mail:."))
        mail = said.get("mail") or ()
        found: dict[str, Any] = {"mail": (mail,) if isinstance(mail, str) else tuple(mail)}
        with suppress(WrongType):  # the schema has said what is wrong with it
            if said.get("late_after"):
                found["late_after"] = DURATION.typed(said["late_after"])
        return found

    # --------------------------------------------------------------------------- windows and connections

    def _windows(self) -> dict[str, Window]:
        found = {}
        for key, node in self._mapping("windows") or ():
            said = plain(node) if isinstance(node, MapNode) else {}
            try:
                zone = ZoneInfo(str(said["timezone"]))
                freezes = tuple(
                    (_moment(each["from"], zone), _moment(each["to"], zone)) for each in said.get("freezes") or ()
                )
                days = tuple(sorted(DAYS.index(day) for day in said["days"]))
                found[key.text] = Window(key.text, days, str(said["opens"]), str(said["closes"]), zone.key, freezes)
            except ZoneInfoNotFoundError:
                self.problems.append(
                    source_of(node, "timezone").problem(
                        "unknown time zone",
                        found=f'"{shortened(str(said["timezone"]))}".',
                        remedy="As in Europe/Berlin.",
                    )
                )
            except (KeyError, TypeError):
                pass  # the schema has said so
            except (ValueError, OSError):
                if isinstance(node, MapNode) and not any(
                    problem.mark and problem.mark.line >= node.mark.line and problem.mark.file == node.source.file
                    for problem in self.problems
                ):
                    self.problems.append(
                        source_of(node, "freezes").problem(
                            "window cannot be read",
                            remedy="Freezes are written {from: 2026-12-18 18:00, to: 2027-01-07 06:00}.",
                        )
                    )
        return found

    def _connections(self) -> dict[str, Mapping[str, Any]]:
        found = {}
        for key, node in self._mapping("connections") or ():
            if key.text in CONNECTIONS and isinstance(node, MapNode):
                settings = plain(node)
                if isinstance(settings.get("port"), str) and settings["port"].isdigit():
                    settings["port"] = WHOLE.typed(settings["port"])
                # beside the inventory, wherever mailmove is started from
                settings |= {name: str(self.path.parent / str(settings[name])) for name in FILES if settings.get(name)}
                for name in SECRETS & settings.keys():
                    if isinstance(settings[name], str) and not written_out(name, settings[name]):
                        node.source.covered.append(((value := source_of(node, name)).start, value.end))
                        self.problems.append(
                            value.problem(
                                "secret written out",
                                found=f"{key.text}.{name} holds a value.",
                                remedy="Write !secret env:NAME, or file:, keyring:, command:.",
                            )
                        )
                found[key.text] = settings
        return found


SECRETS = frozenset({"password", "client_secret", "certificate", "source_password"})


def source_of(node: Node, name: str) -> Node:
    return (node.get(name) or node) if isinstance(node, MapNode) else node


def _moment(text: str, zone: ZoneInfo) -> datetime:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _organisation(settings: Mapping[str, Plain], root: MapNode) -> Table:
    name = str(settings.get("migration") or "organisation")
    fields: dict[str, Plain] = {"administrator": None, **settings, "name": name}
    table = Table(
        ORGANISATION,
        "migration",
        dict(zip(fields, range(len(fields)), strict=True)),
        [tuple(fields.values())],
        (name,),
        {name: 0},
        root.source.file,
        written=True,
    )
    table.lines.append(root.mark.line)
    return table
