"""The batches' lists beside the other rows: whom they may name, what a cutover may not have (S-09, S-11, S-14, C-14).

What the file alone can tell is `engine.connections.batch_csv`'s; what only the live source can tell is the task
module batch_list's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.connections.batch_csv import BatchFile, sign_on_problems
from engine.contract import Mark, Plain, Problem
from engine.language.rows import Table
from engine.language.source import suggestion

#: Names are compared with every mailbox only where there are not too many.
SUGGESTED_AMONG_MAX = 2_000


def strangers(members: Mapping[str, tuple[str, Mark]], tables: Mapping[str, Table]) -> Iterator[Problem]:
    """Addresses that are no mailbox of the inventory: a secondary one, a group's, or unknown."""
    mailboxes = tables["mailboxes"]
    if mailboxes.file and not mailboxes.keys:
        return  # their own file could not be read, and has said so
    missing = [address for address in members if address not in mailboxes.positions]
    if not missing:
        return
    aliases = _aliases(mailboxes)
    for address in missing:
        mark = members[address][1]
        if address in aliases:
            yield Problem("secondary address", mark, f"{address} is a further address of {aliases[address]} (S-11).",
                          f"Write its primary address, {aliases[address]}, or: mailmove inventory convert --primary.")
            continue
        kind = next((kind for kind in ("groups", "recipients") if address in tables[kind].positions), None)
        if kind is not None:
            yield Problem("not a mailbox", mark, f"{address} is among the inventory's {kind} (S-09).",
                          "A batch holds mailboxes only: take the row out.")
            continue
        near = len(mailboxes.keys) < SUGGESTED_AMONG_MAX
        yield Problem("unknown mailbox", mark, f"{address} is not among the inventory's mailboxes.",
                      suggestion(address, mailboxes.keys, "Add it to the mailboxes.") if near else
                      "Add it to the mailboxes.")


def _aliases(mailboxes: Table) -> dict[str, str]:
    """Further address → the mailbox's primary one."""
    place = mailboxes.columns.get("aliases")
    if place is None:
        return {}
    found = {}
    for key, row in zip(mailboxes.keys, mailboxes.rows, strict=True):
        values: Plain = row[place]
        for alias in values if isinstance(values, tuple) else ():
            found[str(alias).lower()] = key
    return found


def sign_on(lists: Mapping[str, tuple[str, BatchFile]], domains: Table) -> Iterator[Problem]:
    """ForceChangePassword in domains whose row says `authentication: federated` (S-14). `lists`: batch → path, file."""
    place = domains.columns.get("authentication")
    if place is None:
        return
    federated = {key for key, row in zip(domains.keys, domains.rows, strict=True)
                 if str(row[place]).lower() == "federated"}
    for path, batch in lists.values():
        yield from sign_on_problems(batch, path, federated)


def cutover(batches: Table, lists: Sequence[Plain],
            at: Callable[[Table, int, str, str, str], Problem]) -> Iterator[Problem]:
    """A cutover moves everybody in one batch without a list (C-14, C-28). `lists`: what each batch's csv says."""
    for place, (key, list_of) in enumerate(zip(batches.keys, lists, strict=True)):
        if list_of is not None:
            yield at(batches, place, "a list in a cutover",
                     f"{key} names a CSV file; a cutover takes every mailbox of the source (C-14).",
                     "Leave csv out, or migrate with type: staged.")
    if len(batches.keys) > 1:
        yield at(batches, 1, "a second cutover batch",
                 f"{len(batches.keys)} batches; only one cutover batch can exist at a time (C-28).", "Keep one.")
