"""doctor: what must be well before the first plan – versions, clock, state folder, each connection and its rights.

Every look is a harmless read. One ill finding does not hide the next.
"""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.app import Migration
from engine.connections.secrets import Secret
from engine.contract import Denied, Fault, Refusal, Rejected
from engine.report import duration, moment, named, wrap

#: SQLite versions before this one lack what the journal is made of (STRICT tables, RETURNING).
SQLITE_MIN = (3, 37, 0)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `remedy` says what a person may do where it is not well."""

    what: str
    well: bool
    text: str
    remedy: str = ""
    #: well, but somebody should see it
    warns: bool = False


def lines(finding: Finding) -> Iterator[str]:
    text, _, needs = finding.text.partition("; needs ")
    first, *more = wrap(f"{finding.what}: {text}", "       ")
    yield f"  {'ILL' if not finding.well else 'see' if finding.warns else 'ok '}  {first.strip()}"
    yield from more
    if needs:
        yield from wrap(f"needs {needs}", "       ")
    if finding.remedy and (finding.warns or not finding.well):
        yield from wrap(finding.remedy, "       ")


def examine(migration: Migration) -> Iterator[Finding]:
    """Looks at everything, the nearest first. Raises nothing: what fails is a finding."""
    found = tuple(map(int, sqlite3.sqlite_version.split(".")))
    yield Finding("python", True, platform.python_version())
    yield Finding("sqlite", found >= SQLITE_MIN, sqlite3.sqlite_version, "Use a Python with SQLite 3.37 or newer.")
    yield Finding("clock", True, moment(migration.world.clock.now()))
    yield _state(migration)
    rights = _rights(migration)
    for name in migration.inventory.connections:
        yield _connection(migration, name, rights.get(name, ()))
    for name in sorted(rights.keys() - migration.inventory.connections.keys() - {""}):
        yield Finding(name, False, "the playbook needs it; the inventory does not name it",
                      f"Add connections: {name}: to the inventory.")
    yield from _checks(migration)
    migration.site.close()


def _checks(migration: Migration) -> Iterator[Finding]:
    """What every plan and run looks at as well; a warning needs attention, a refusal forbids writing."""
    from engine.run.preflight import Preflight

    try:
        journal = migration.journal(create=False)
    except Refusal:
        return  # said above
    try:
        found = Preflight(migration.program, migration.site, journal, migration.world).look()
    except Refusal as refusal:
        yield Finding("preflight", False, refusal.problem.found, refusal.problem.remedy.strip())
        return
    except Fault:
        return  # the tenant cannot be asked: said above, and nothing else can be told
    finally:
        journal.close()
    for each in found:
        rows = f" ({named(each.rows, each.count, 60)})" if each.count > 1 else ""
        yield Finding(each.check, each.severity != "refuse", each.text + rows, each.remedy, each.severity == "warn")


def _state(migration: Migration) -> Finding:
    from engine.run.volume import look

    folder = migration.folder
    near = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        journal = migration.journal(create=False)
        records, _ = journal.head()
        journal.close()
    except Exception as error:  # a journal that cannot be opened says why in its own words
        problem = getattr(error, "problem", None)
        return Finding("state", False, f"{folder}: {problem.found if problem else error}",
                       problem.remedy if problem else "")
    if warned := look(folder).warned:
        return Finding("state", True, f"{folder}, {records:,} journal records; {warned}",
                       "Name a folder on a disk with --state or MAILMOVE_STATE before the first apply.", warns=True)
    return Finding("state", near.is_dir(), f"{folder}, {records:,} journal records")


def _rights(migration: Migration) -> dict[str, tuple[str, ...]]:
    """Connection → the rights that the playbook's modules need of it."""
    needed: dict[str, set[str]] = {}
    for template in migration.program.templates:
        needed.setdefault(template.module.connection, set()).update(template.module.rights)
    return {name: tuple(sorted(rights)) for name, rights in needed.items()}


def _connection(migration: Migration, name: str, rights: tuple[str, ...]) -> Finding:
    needs = f"; needs {', '.join(rights)}" if rights else ""
    clock = migration.world.clock
    begun = clock.now()
    try:
        for secret in _secrets(migration.inventory.connections[name]):
            secret.demand(migration.world)
        text = LOOKS[name](migration.site.client(name), migration)
    except Fault as fault:
        remedy = fault.remedy or (f"The account needs: {', '.join(rights)}."
                                  if rights and isinstance(fault, Denied) else "")
        code = f" ({fault.code})" if fault.code else ""
        return Finding(name, False, f"{fault.text}{code}{needs}", remedy)
    took = clock.now() - begun
    # A look that took no time to speak of was a look at a clock that stands still, or at nothing.
    return Finding(name, True, text + (f" in {duration(took)}" if took.total_seconds() >= 0.1 else "") + needs)


def _secrets(settings: Mapping[str, Any]) -> Iterator[Secret]:
    """The secrets a connection names: one whose source is silent is found here, not in the night of the cutover."""
    for found in settings.values():
        if isinstance(found, Secret):
            yield found
        elif isinstance(found, Mapping):
            yield from _secrets(found)


def _graph(client: Any, migration: Migration) -> str:
    organisation = client.organization()
    return f"tenant {getattr(organisation, 'id', organisation)}"


def _exchange_online(client: Any, migration: Migration) -> str:
    shell = f", {client.shell.version()}" if client.shell is not None else ""
    return _count(len(client.endpoints()), "migration endpoint") + shell


def _dns(client: Any, migration: Migration) -> str:
    rows = migration.program.rows
    zones = sorted({str(rows.fields("domains", key)["zone"]) for key in rows.keys("domains")})
    said = [str(client.probe(zone)) for zone in zones]
    return f"{_count(len(zones), 'zone')} answered by every authoritative server; {'; '.join(said)}"


def _directory(client: Any, migration: Migration) -> str:
    return f"Exchange servers: {', '.join(map(str, client.servers()))}"


def _mailbox(migration: Migration) -> str:
    """Whose mailbox is looked at; "" where the inventory has none."""
    return str(migration.inventory.vars.get("test_mailbox") or next(
        iter(migration.program.rows.keys("mailboxes")), ""))


def _ews(client: Any, migration: Migration) -> str:
    address = _mailbox(migration)
    if not address:
        return "not contacted: the inventory has no mailbox to look at"
    try:
        return f"{client.count(address).items:,} items in {address}"
    except Rejected as found:  # a considered no about one mailbox is an answer of the service
        return f"answers: {found.text}"


def _published(client: Any, migration: Migration) -> str:
    host = str(migration.inventory.vars.get("rpc_proxy_server") or "")
    if not host:
        return "not contacted: the inventory's vars name no rpc_proxy_server"
    return f"{host} answers {client.asked(host).words}"


def _smtp(client: Any, migration: Migration) -> str:
    """As far as a letter would go, without one: a mail path is proved by the playbook's own letters only."""
    return str(client.probe(_mailbox(migration)))


def _webhook(client: Any, migration: Migration) -> str:
    """Nothing is posted: whoever listens would take it for news."""
    return "is told when a run parks on a person, fails, or waits longer than planned; not tried here"


def _source_shell(client: Any, migration: Migration) -> str:
    if not client.there:
        return "none: what it would do is handed to a person"
    return _count(len(client.invoke("Get-ExchangeServer")), "Exchange server")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


LOOKS: dict[str, Callable[[Any, Migration], str]] = {
    "graph": _graph, "exchange_online": _exchange_online, "dns": _dns, "internal_dns": _dns,
    "directory": _directory, "ews": _ews,
    "published": _published, "smtp": _smtp, "source_smtp": _smtp, "source_shell": _source_shell,
    "webhook": _webhook,
}
