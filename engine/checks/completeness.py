"""Is the inventory the whole source? Mailboxes nobody has planned, planned ones that are not there, what stays behind.

S1', C-12, B-11. Only people are counted; what Exchange keeps for itself is told once, as staying behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from engine.checks.base import Check, Look, copies, counted, cutover, mailboxes, note, warn
from engine.connections.directory_objects import SourceRecipient
from engine.contract import Finding

#: Kinds of what a cutover leaves behind, in words.
LEFT_BEHIND = {
    "public_folder": ("mail-enabled public folder", "mail-enabled public folders"),
    "dynamic_group": ("dynamic distribution group", "dynamic distribution groups"),
    "contact": ("contact without a mail address", "contacts without a mail address"),
    "user": ("user without a mailbox", "users without a mailbox"),
    "system": ("mailbox of Exchange itself", "mailboxes of Exchange itself"),
}


def _rows(look: Look) -> Iterator[Finding]:
    source = look.site.directory.mailboxes()
    here = {address: found for address, found in source.items() if found.is_mailbox}
    unplanned = {address: found for address, found in here.items()
                 if address not in look.planned and not (_addresses(found) & look.planned.keys())}
    since = look.memory.pinned.get("at")
    fresh = sorted(address for address, found in unplanned.items()
                   if isinstance(since, datetime) and found.created is not None and found.created > since)
    older = sorted(unplanned.keys() - set(fresh))
    if fresh:
        yield warn(f"{mailboxes(len(fresh))} made at the source since {since:%Y-%m-%d} that nobody has planned: the "
                   "domain is not done without",
                   "Add rows and a batch; MX does not move, nor does a batch go, before they are copied.", fresh)
    if older:
        yield warn(f"{mailboxes(len(older))} at the source that nobody has planned, of {len(here):,}",
                   "Add them to the rows, or find out whose they are: mailmove inventory import --out all.csv", older)
    known = set(source) | {address for found in source.values() for address in _addresses(found)}
    gone = sorted(look.planned.keys() - known)
    if gone:
        yield warn(f"{mailboxes(len(gone))} planned that the source does not have",
                   "Correct the address, or take the row out; a batch with it has a failed user.", gone)


def _behind(look: Look) -> Iterator[Finding]:
    census = look.site.directory.census()
    parts = [counted(census[kind], *words) for kind, words in LEFT_BEHIND.items() if census.get(kind)]
    if parts:
        yield note(f"a cutover leaves behind: {', '.join(parts)} (C-12)",
                   "It moves mailboxes, mail users, mail contacts and mail-enabled groups.")


def _domains(look: Look) -> Iterator[Finding]:
    verified = {name for name, domain in look.site.graph.domains().items() if domain.verified}
    known = verified | {key.lower() for key in look.keys("domains")}
    strange: dict[str, list[str]] = defaultdict(list)
    for address, found in look.site.directory.mailboxes().items():
        if address in look.planned:
            for domain in found.domains - known:
                strange[domain].append(address)
    for domain, addresses in sorted(strange.items(), key=lambda each: (-len(each[1]), each[0])):
        yield warn(f"{domain} is a domain of {mailboxes(len(addresses))}, neither verified in the tenant nor a row of "
                   "the inventory (B-11)", "Add it to domains:, or take these addresses from the mailboxes.",
                   sorted(addresses))


def _addresses(found: SourceRecipient) -> set[str]:
    return {proxy[5:].lower() for proxy in found.proxies if proxy[:5].lower() == "smtp:"} | {found.address}


CHECKS = (
    Check("inventory", "The inventory holds every mailbox of the source", ("S1'",), ("directory",), _rows,
          where=copies),
    Check("left_behind", "What a cutover does not move", ("C-12",), ("directory",), _behind, where=cutover),
    Check("mail_domains", "Every mail domain in use is known", ("B-11",), ("directory", "graph"), _domains,
          where=copies),
)
