"""Whether the method fits the source: Exchange releases and numbers of mailboxes (B-02, C-01..C-03, S-01).

Where Microsoft's pages contradict each other the message says so, and the rule is the product's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from engine.checks import dates
from engine.checks.base import Check, Look, copies, counted, cutover, mailboxes, refuse, warn
from engine.contract import Finding

#: Releases the pages name, by method.
NAMED = {"staged": ("2003", "2007"), "cutover": ("2003", "2007", "2010", "2013")}
#: Later releases a cutover is known to work with, outside the pages (today.md T-06).
LATER = ("2016", "2019")

#: C-02: "up to 2,000" and "fewer than 2,000"; the cmdlet help: 1,000; C-03: recommended.
CUTOVER_MAX = 2_000
CUTOVER_HELP = 1_000
CUTOVER_RECOMMENDED = 150
#: Mailboxes copied at the same time, unless an endpoint says otherwise (performance and best practices).
AT_ONCE = 20


def _release(look: Look) -> Iterator[Finding]:
    servers = {each.host or each.name.lower(): each.release for each in look.site.directory.servers()}
    unknown = sorted({release for release in servers.values()
                      if release not in (*NAMED["cutover"], *LATER)})
    if unknown and not look.staged:
        yield refuse(f"cutover is described for Exchange {_listed(NAMED['cutover'])}; the source has "
                     f"{_listed(unknown)} (C-01)",
                     "Another page says \"2003 or later\": go on only when Microsoft has confirmed it for yours.")
    said = str(look.program.settings.get("exchange") or "")
    if said and said not in servers.values():
        yield warn(f"the inventory says Exchange {said}; the directory shows {_listed(sorted(set(servers.values())))}",
                   "Correct exchange: in the inventory; handovers and checks depend on it.")
    if "2003" in servers.values():
        yield warn("Exchange 2003: the pages of both methods name it, a support article says that migration from it "
                   "is no longer supported (C-01)", "Rehearse with one mailbox before you promise a date.")
    later = sorted(set(servers.values()) & set(LATER))
    if later and not look.staged:
        yield warn(f"Exchange {_listed(later)} is outside the pages of the cutover method, which end with 2013 (C-01)",
                   "Microsoft recommends a hybrid migration for it.")
    ended = [text for release in sorted(set(servers.values())) if (text := dates.support_ended(release, look.now))]
    if ended:
        yield warn(f"no longer supported by Microsoft: {'; '.join(ended)}",
                   "Exchange Online may delay or refuse mail from it (450 4.7.230, 550 5.7.230)."
                   if look.staged else "")


def _staged(look: Look) -> Iterator[Finding]:
    servers = {each.host or each.name.lower(): each.release for each in look.site.directory.servers()}
    homes = Counter(servers.get(each.server, "") for each in look.site.directory.mailboxes().values()
                    if each.is_mailbox)
    wrong = {release: number for release, number in homes.items() if release and release not in NAMED["staged"]}
    if wrong:
        where = ", ".join(f"{mailboxes(number)} on Exchange {release}" for release, number in sorted(wrong.items()))
        names = sorted(host for host, release in servers.items() if release in wrong)
        mixed = homes.keys() & set(NAMED["staged"])
        total = sum(homes.values())
        better = "cutover" if total <= CUTOVER_MAX else "a hybrid migration, which is not done by this program"
        yield refuse(
            f"staged migration is for Exchange 2003 and 2007 only: {where} (S-01)",
            f"Move them to a 2003 or 2007 server first, or leave the organisation to {better}." if mixed else
            f"Choose {better}: type: cutover in the inventory." if better == "cutover" else f"Choose {better}.", names)
        return
    idle = sorted(host for host, release in servers.items() if release not in NAMED["staged"])
    if idle:
        yield warn(f"{counted(len(idle), 'newer Exchange server')} without mailboxes beside the 2003 or 2007 ones",
                   "Mailboxes created there cannot be moved in stages (S-01).", idle)


def _count(look: Look) -> Iterator[Finding]:
    number = sum(1 for each in look.site.directory.mailboxes().values() if each.is_mailbox)
    if number > CUTOVER_MAX:
        releases = {each.release for each in look.site.directory.servers()}
        staged = releases <= set(NAMED["staged"])
        yield refuse(f"{mailboxes(number)} at the source; a cutover moves {CUTOVER_MAX:,} at most (C-02)",
                     "Choose staged: type: staged in the inventory, batches of 2,000 rows." if staged else
                     "Neither method fits: staged is for Exchange 2003 and 2007 only. Microsoft's way is hybrid.")
    elif number == CUTOVER_MAX:
        yield warn(f"{mailboxes(number)} at the source: the page says both \"fewer than 2,000\" and \"up to 2,000\" "
                   "(C-02); accepted", "One mailbox more would be refused by the service.")
    if CUTOVER_HELP < number <= CUTOVER_MAX:
        yield warn(f"{mailboxes(number)}: the page allows 2,000, the help of New-MigrationBatch still says 1,000 "
                   "(C-02)",
                   "The service decides when the batch is made; nothing is changed before.")
    if CUTOVER_RECOMMENDED < number <= CUTOVER_MAX:
        rounds = -(-number // AT_ONCE)
        yield warn(f"{mailboxes(number)}: {CUTOVER_RECOMMENDED} or fewer is recommended for a cutover (C-03)",
                   f"It is a long copy, not an error: {rounds:,} rounds of {AT_ONCE} mailboxes at a time; Microsoft "
                   "plans 1 day for a mailbox below 10 GB, 7 in the slow tenth.")


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


CHECKS = (
    Check("source_release", "The source's Exchange release is one the method is described for", ("B-02", "C-01"),
          ("directory",), _release, refuses=True, liftable=True, where=copies),
    Check("staged_source", "A staged migration's mailboxes are on Exchange 2003 or 2007", ("B-02", "S-01"),
          ("directory",), _staged, refuses=True, where=lambda look: copies(look) and look.staged),
    Check("mailbox_count", "A cutover has at most 2,000 mailboxes", ("B-02", "C-02", "C-03"), ("directory",), _count,
          refuses=True, where=cutover),
)
