"""Which rows lead to which: the relations every inventory has, and those it writes under `relations:`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.contract import Plain, Problem
from engine.language.inventory_schema import KINDS
from engine.language.rows import ORGANISATION, Relation, Rows
from engine.language.source import MapNode, Node, Scalar, plain, shortened, suggestion

#: relations that need not be written; mailboxes come before what goes through them
RELATIONS = (
    Relation("mailboxes", "batch", "batches", True, "batch"),
    Relation("mailboxes", "server", "servers", True, "server"),
    Relation("mailboxes", "database", "databases", True, "database"),
    Relation("mailboxes", "domains", "domains", False, "all_addresses"),
    Relation("groups", "domains", "domains", False, "all_addresses"),
    Relation("recipients", "domains", "domains", False, "all_addresses"),
    Relation("batches", "domains", "domains", False, through="mailboxes"),
)
#: Names are compared with so many rows at most.
SUGGESTED_AMONG_MAX = 500
KIND_WORDS = {
    "servers": "server",
    "databases": "database",
    "domains": "domain",
    "mailboxes": "mailbox",
    "recipients": "recipient",
    "groups": "group",
    "batches": "batch",
}


def relate(rows: Rows, written: MapNode | None) -> list[Problem]:
    """Joins the rows by every relation, `written` ones before those that need not be. What is wrong with them."""
    problems: list[Problem] = []
    declared: dict[tuple[str, str], tuple[Relation, Node | None]] = {
        (each.kind, each.name): (each, None) for each in RELATIONS}
    for key, node in written or ():
        found = _declared(rows, key, node)
        if isinstance(found, Problem):
            problems.append(found)
        elif found is not None:
            declared[found.kind, found.name] = (found, key)
    pairs: dict[frozenset[str], Relation] = {}
    # those that go through another relation come after it
    for relation, place in sorted(declared.values(), key=lambda each: bool(each[0].through)):
        twin = pairs.setdefault(frozenset((relation.kind, relation.to)), relation)
        if twin is relation:
            rows.relate(relation, _through(rows, relation) if relation.through else _targets(rows, relation, problems))
        elif place is not None:
            problems.append(place.problem("two relations between two kinds", remedy="Keep one of them.",
                                          found=f"{twin} already leads from {twin.kind} to {twin.to}."))
    return problems


def _declared(rows: Rows, key: Scalar, node: Node) -> Relation | Problem | None:
    """What `KIND.NAME: …` says; None when the schema has already said what is wrong with it."""
    kind, _, name = key.text.partition(".")
    if kind not in KINDS or not name or kind == ORGANISATION:
        return key.problem("unknown relation", found=f'"{shortened(key.text)}".',
                           remedy="Write KIND.NAME, as in mailboxes.batch.")
    if isinstance(node, Scalar):
        through = node.text.removeprefix("through").strip()
        # relations are not built yet: those that need not be written are known by their kinds
        if through in KINDS and name in KINDS and any({each.kind, each.to} == {kind, through} for each in RELATIONS):
            return Relation(kind, name, name, False, through=through)
        return node.problem("unknown relation", found=f'"{shortened(node.text)}".',
                            remedy=f"Write: {kind}.{name}: through KIND, where {kind} and KIND are related.")
    said = plain(node) if isinstance(node, MapNode) else {}
    to = said.get("to")
    if to not in KINDS or to == ORGANISATION:
        return None
    column = str(said.get("from") or name)
    table = rows.tables[kind]
    if table.rows and column not in table.columns:
        return key.problem("unknown column", found=f'The {kind} have no column "{column}".',
                           remedy=suggestion(column, table.columns))
    return Relation(kind, name, to, said.get("one") == "true", column)


def _targets(rows: Rows, relation: Relation, problems: list[Problem]) -> list[tuple[int, ...]]:
    """For each row the places its column names; a name that is nowhere is a problem."""
    table, other = rows.tables[relation.kind], rows.tables[relation.to]
    column = table.columns.get(relation.column)
    if column is None:
        return [()] * len(table.rows)
    domains = relation.to == "domains"
    fold = domains or other.key_column == "address"
    targets: list[tuple[int, ...]] = []
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    for place, row in enumerate(table.rows):
        value = row[column]
        names = value if isinstance(value, tuple) else () if value is None else (value,)
        places = set()
        for name in map(str, names):
            key = name.rpartition("@")[2] if domains else name
            at = other.positions.get(key.lower() if fold and key.isascii() else key, -1)
            if at >= 0:
                places.add(at)
            elif other.written and not (domains and relation.column == "all_addresses"):
                word = KIND_WORDS[relation.to]
                problems.append(Problem(
                    f"unknown {word}", table.mark(place),
                    f'{table.keys[place]}: {relation.column} is "{shortened(name)}"; the inventory has no such {word}.',
                    suggestion(key, other.keys[:SUGGESTED_AMONG_MAX])))
        found = tuple(sorted(places))
        targets.append(known.setdefault(found, found))
    return targets


def _through(rows: Rows, relation: Relation) -> list[tuple[int, ...]]:
    other = rows.tables[relation.to]
    if not (rows.relates(relation.kind, relation.through) and rows.relates(relation.through, relation.to)):
        return [()] * len(rows.keys(relation.kind))
    targets = []
    for key in rows.keys(relation.kind):
        reached = {
            name
            for middle in rows.related(relation.kind, key, relation.through)
            for name in rows.related(relation.through, middle, relation.to)
        }
        targets.append(tuple(sorted(other.positions[name] for name in reached)))
    return targets


def foreign_domains(rows: Rows, settings: Mapping[str, Plain]) -> Iterator[Problem]:
    """A warning for each domain that mailboxes have addresses in and the inventory does not name."""
    if not rows.tables["domains"].written:
        return
    tenant = settings.get("tenant")
    own = tenant.get("domain") if isinstance(tenant, Mapping) else None
    table = rows.tables["mailboxes"]
    counted: dict[str, list[int]] = {}
    for place, key in enumerate(table.keys):
        domain = key.rpartition("@")[2]
        if domain not in rows.tables["domains"].positions and domain != own:
            counted.setdefault(domain, []).append(place)
    for domain, places in counted.items():
        yield Problem(
            "domain not in the inventory", table.mark(places[0]),
            f"{len(places):,} mailboxes have an address in {domain}, {table.keys[places[0]]} first.",
            "Add it to the domains if its mail is to move.", severity="warning")
