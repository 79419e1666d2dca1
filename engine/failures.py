"""failures: which mailboxes the migration service fails, or has copied in part, why, and what a person may do (B-33).

Read from the service at this moment, not from the journal. With `--out` every report is kept whole, as a table for a
spreadsheet and as JSON with the service's own log and skipped items.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.app import Migration
from engine.arguments import to_write
from engine.connections import Site
from engine.connections.migration_objects import MigrationBatch, MigrationUser
from engine.connections.service_errors import SKIPPED_ITEMS, WAITS_FOR_MEMBERS, ServiceError, classify
from engine.contract import ExitCode, Fault, Problem, Refusal
from engine.report import named, next_step, wrap
from engine.rows import as_csv
from engine.screen import Screen
from engine.world import write_whole

COLUMNS = ("address", "batch", "status", "error", "helps", "cause", "to_do", "items", "skipped", "words")
#: A batch in one of these copies nothing any more.
ILL = {"Failed": "start it again once the cause is mended", "Corrupted": "remove it and create it anew",
       "Stopped": "start it again: after 60 days without an administrator's act the service stops a batch, and 90 days "
                  "later removes it"}


@dataclass(frozen=True)
class Failure:
    """One mailbox or group that is not whole in the cloud. `statistics`: what the service said, its report included."""

    user: MigrationUser
    kind: ServiceError
    words: str
    statistics: Mapping[str, Any]

    def cells(self) -> list[Any]:
        return [self.user.address, self.user.batch, self.user.status, self.kind.id, self.kind.action, self.kind.cause,
                self.kind.remedy, self.user.items, self.user.skipped, self.words]


def command(arguments: Namespace, migration: Migration, screen: Screen, again: Callable[..., str]) -> int:
    """`failures [ADDRESS …]`. Exit 4 when a mailbox or a batch needs a person."""
    ours = set(migration.program.rows.keys("batches"))
    try:
        batches = {name: found for name, found in migration.site.exchange_online.migration_batches().items()
                   if name in ours}
        users = [user for user in migration.site.exchange_online.migration_users().values() if user.batch in ours]
        chosen = _chosen(users, arguments.rows)
        found = look(migration.site, chosen)
    finally:
        migration.site.close()
    if arguments.out:
        _keep(Path(arguments.out), found, migration)
    if arguments.json:
        for each in found:
            screen.json({**dict(zip(COLUMNS, each.cells(), strict=True)), "statistics": each.statistics})
    else:
        screen.lines(page(found, len(chosen), batches if not arguments.rows else {}))
        if arguments.out:
            screen.line()
            screen.line(f"Kept whole in {arguments.out}: failures.csv, failures.json.")
        screen.lines(next_step(again("status")))
    ill = any(each.kind is not SKIPPED_ITEMS for each in found) or any(each.status in ILL for each in batches.values())
    return ExitCode.SOME_FAILED if ill else ExitCode.CONVERGED


def _chosen(users: Sequence[MigrationUser], rows: Sequence[str]) -> list[MigrationUser]:
    if not rows:
        return list(users)
    wanted = {row.lower() for row in rows}
    missing = wanted - {user.address for user in users}
    if missing:
        raise Refusal(ExitCode.USAGE, Problem(
            "the service does not know this mailbox", found=f"No batch of this migration lists {sorted(missing)[0]}.",
            remedy="Its batch may not have been created yet.", next_command=f"mailmove why {sorted(missing)[0]}"))
    return [user for user in users if user.address in wanted]


def look(site: Site, users: Sequence[MigrationUser]) -> list[Failure]:
    """Every user that failed, waits for members or has items left out, with its statistics. Raises Fault."""
    concerned = [user for user in users
                 if user.state == "failed" or user.skipped or user.status == "ProvisionUpdating"]
    answers = site.exchange_online.user_statistics([user.identity for user in concerned], report=True)
    found = []
    for user, answer in zip(concerned, answers, strict=True):
        if isinstance(answer, Fault):
            raise answer
        words = user.error or str(answer.get("Error") or "")
        if user.state == "failed":
            kind = classify(words)
        elif user.status == "ProvisionUpdating":
            kind = WAITS_FOR_MEMBERS
        else:
            kind, words = SKIPPED_ITEMS, _skipped(user, answer)
        found.append(Failure(user, kind, words or "the service gives no reason", answer))
    return sorted(found, key=lambda each: (each.kind is SKIPPED_ITEMS, each.kind.id, each.user.address))


def _skipped(user: MigrationUser, answer: Mapping[str, Any]) -> str:
    """What was left out; a count and an empty list is a known defect (OfficeDocs-Exchange issue 2362)."""
    listed = answer.get("SkippedItems")
    items = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    said = "1 item skipped" if user.skipped == 1 else f"{user.skipped} items skipped"
    if not items:
        return f"{said}; the service lists none of them (a known defect), its report may"
    first = items[0]
    where = ", ".join(str(first[name]) for name in ("Subject", "FolderName", "Kind") if first.get(name))
    return f"{said}: {where}" + (" …" if len(items) > 1 else "")


def page(found: Sequence[Failure], among: int, batches: Mapping[str, MigrationBatch]) -> Iterator[str]:
    """One group for each error, the service's words of the first, and what to do."""
    for name, batch in batches.items():
        if batch.status in ILL:
            yield f"Batch {name} is {batch.status}" + (f": {batch.error}" if batch.error else ".")
            yield from wrap(f"To do: {ILL[batch.status]}.", "  ")
            yield ""
    if not found:
        yield f"The service fails none of {among:,} mailboxes and groups, and skipped no item of them."
        return
    kinds: dict[str, list[Failure]] = {}
    for each in found:
        kinds.setdefault(each.kind.id, []).append(each)
    for place, (identity, members) in enumerate(kinds.items()):
        kind = members[0].kind
        if place:
            yield ""
        yield from wrap(f"{identity}, {kind.action}: {kind.cause}")
        for words in list(dict.fromkeys(each.words for each in members))[:3]:
            yield from wrap(f"«{words}»", "  ")
        yield from wrap(f"To do: {kind.remedy}.", "  ")
        yield from wrap(f"{len(members):,} of {among:,}: "
                        f"{named([each.user.address for each in members], len(members), 200)}", "  ")


def _keep(folder: Path, found: Sequence[Failure], migration: Migration) -> None:
    with to_write(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        table = as_csv(COLUMNS, (each.cells() for each in found))
        write_whole(folder / "failures.csv", b"\xef\xbb\xbf" + table.encode())  # the mark, for spreadsheets
        write_whole(folder / "failures.json", json.dumps(
            {"read_at": migration.world.clock.now().isoformat(), "failures": [
                {**dict(zip(COLUMNS, each.cells(), strict=True)), "statistics": each.statistics} for each in found]},
            ensure_ascii=False, indent=1, default=str).encode())
