"""Facts that must hold before a dangerous transition, matched by key and transition, never by module.

Each guard answers yes, no, or unknown; unknown, stale and empty never pass. A guard that knows when it will pass says
so, and is then a wait. No playbook text can lift a guard; an override names one guard, one row, one person, one reason,
and ends after an hour. Sources: design of the guards in docs/design.md; requirement ids beside each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from engine.connections import Site
from engine.contract import Diff, Fault, Phase, Program, State, Template
from engine.modules.base import Module

#: B-42: other mail systems may take this long to see the new MX.
MX_SETTLE_MIN = timedelta(hours=72)
#: C-16 and S1: a cutover mailbox must have been synchronised this recently when MX moves.
SYNC_AGE_MAX = timedelta(hours=48)
#: How long a database keeps a disconnected mailbox by default ("Deleted mailbox retention").
MAILBOX_RETENTION = timedelta(days=30)
#: B4: a clock that differs by more is not believed.
CLOCK_AHEAD_MAX = timedelta(hours=1)
#: Guards of what cannot be taken back, or only with a loss.
IRREVERSIBLE = frozenset({"mx_to_cloud", "batch_removed", "mailbox_converted"})
#: J9: conversions begin with one, go on with twenty, then all.
CONVERSION_STEPS = (1, 20)

#: Names under which clients look for their server (MS-OXDISCO, section 3.1.5).
_LEADS_CLIENTS = re.compile(r"(_autodiscover\._tcp|autodiscover)(\.|$)")
MICROSOFT_MX = (".mail.protection.outlook.com.", ".mx.microsoft.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one guard says of one act. `passed` None: it cannot be told. `until`: when it will pass by itself.

    question  the word it waits for, of an act that no `approval` task stands before
    """

    guard: str
    passed: bool | None
    reason: str
    until: datetime | None = None
    question: str = ""


class Facts(Protocol):
    """What the run knows that no remote system can say: records of this migration."""

    def proven(self, module_name: str, row: str) -> bool:
        """A task of that module is done for the row, by this run's reading or by record."""
        ...

    def held_since(self, module_name: str, row: str) -> datetime | None:
        """Since when the first task of that module (of those on DNS) has held for the row."""
        ...

    def last(self, module_name: str, row: str) -> State | None:
        """The state last recorded of a task of that module; None: none was."""
        ...

    def before(self, module_name: str, row: str) -> State | None:
        """The state before our first change, of the first task of that module."""
        ...

    def waived(self, kind: str, row: str, *modules: str) -> bool:
        """Whether a person has waived a task of one of these modules for the row; none named: any task of it."""
        ...

    def count_settled(self, module_name: str) -> int:
        """How many rows of that module's task are done."""
        ...

    def approved(self, template: Template, row: str) -> bool:
        """An approval directly before this task is granted for the row and has not expired."""
        ...

    def overridden(self, guard: str, row: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Act:
    """An act about to be done, as guards see it."""

    template: Template
    row: str
    module: Module
    diff: Diff
    #: it takes an earlier act back; `since`: when that act was seen done; `approved`: a person has said so of this one
    back: bool = False
    since: datetime | None = None
    approved: bool = False


def _values(found: object) -> frozenset[str]:
    return frozenset(map(str, found)) if isinstance(found, tuple) else frozenset()


def _in_cloud(value: str) -> bool:
    return value.endswith(MICROSOFT_MX)


def names(module: Module, diff: Diff) -> tuple[str, ...]:
    """The guards that stand before this transition, whichever module or playbook asks for it."""
    family, _, rest = module.key().partition("/")
    if family == "dns":
        record_type = rest.rpartition("/")[2]
        owner = rest.split("/")[1]
        values_change = any(change.field == "values" for change in diff.changes)
        if record_type == "MX" and (values_change or diff.verb in ("delete", "create")):
            before = _values((diff.before or {}).get("values"))
            after = _values(next((change.after for change in diff.changes if change.field == "values"), ()))
            lost = any(_in_cloud(value) for value in before - after)
            # a source host that goes, or a Microsoft host that comes, moves mail to the cloud
            gained = any(not _in_cloud(value) for value in before - after) or any(map(_in_cloud, after - before))
            found = ("mx_to_cloud",) if gained or not lost else ()
            return (*found, "mx_back") if lost else found
        if record_type in ("CNAME", "A", "AAAA", "SRV") and _LEADS_CLIENTS.match(owner):
            return ("autodiscover_moved",)
    if family == "batch" and diff.verb == "delete":
        return ("batch_removed",)
    # a batch that is about to be made, or was never started, has nothing to lose
    stood = (diff.before or {}).get("status") not in (None, "Created")
    if family == "sync" or (family == "batch" and diff.verb == "change" and stood):
        return ("batch_restarted",)
    if family == "conversion" and diff.verb != "create":
        return ("mailbox_converted",)
    if family == "directory_sync" and any(
            change.field == "enabled" and change.after is False for change in diff.changes):
        return ("directory_sync_off",)
    if family == "endpoint" and diff.verb in ("change", "delete"):
        return ("endpoint_changed",)
    if family == "licence" and diff.verb == "delete":
        return ("licence_removed",)
    return ()


def names_back(module: Module, diff: Diff) -> tuple[str, ...]:
    """The guards that stand before taking an act back. What an undo loses or leaves is named by its preview."""
    family = module.key().partition("/")[0]
    if family == "dns":
        return tuple(name for name in names(module, diff) if name != "autodiscover_moved")
    if family == "conversion":
        return ("mailbox_reconnected",)
    if family == "licence" and any(change.field == "assigned" and change.after is False for change in diff.changes):
        return ("licence_removed",)
    return () if family == "batch" else names(module, diff)


def names_later(family: str) -> tuple[str, ...]:
    """The guards of a family whose every act is guarded, for acts whose meaning is known only later."""
    return ("mailbox_converted",) if family == "conversion" else ()


class Guards:
    """Judges acts in bulk. `judge` may call the remote systems and so runs in a worker; facts come from the driver."""

    def __init__(self, program: Program, site: Site, facts: Facts) -> None:
        self.program = program
        self.site = site
        self.facts = facts
        self.staged = program.settings.get("type") == "staged"
        self._rules: Mapping[str, Callable[[Act, datetime], Verdict]] = {
            "mx_to_cloud": self._mx_to_cloud,
            "mx_back": self._mx_back,
            "batch_removed": self._batch_removed,
            "batch_restarted": self._batch_restarted,
            "mailbox_converted": self._mailbox_converted,
            "directory_sync_off": self._directory_sync_off,
            "autodiscover_moved": self._autodiscover_moved,
            "endpoint_changed": self._endpoint_changed,
            "licence_removed": self._licence_removed,
            "mailbox_reconnected": self._mailbox_reconnected,
        }

    @property
    def known(self) -> tuple[str, ...]:
        """The names of all guards."""
        return tuple(self._rules)

    def judge(self, acts: Sequence[Act], now: datetime) -> list[list[Verdict]]:
        """For each act, what each of its guards says. A fault is «cannot be told», never a yes."""
        found = []
        for act in acts:
            verdicts = []
            for guard in (names_back if act.back else names)(act.module, act.diff):
                if self.facts.overridden(guard, act.row):
                    verdicts.append(Verdict(guard, True, "overridden"))
                    continue
                try:
                    verdicts.append(self._rules[guard](act, now))
                except Fault as fault:
                    verdicts.append(Verdict(guard, None, f"it could not be checked: {fault}"))
            if any(each.passed and each.guard in IRREVERSIBLE for each in verdicts) and (
                    not self.facts.overridden("clock", act.row)) and (wrong := self._clock()):
                verdicts.insert(0, wrong)
            found.append(verdicts)
        return found

    def _clock(self) -> Verdict | None:
        """B4: what cannot be taken back waits until a service's clock agrees with ours, whatever has passed by ours."""
        try:
            self.site.graph.organization()  # asked anew once our clock has passed the listing's age, as after a jump
            ahead = self.site.graph.clock_ahead()
        except Fault as fault:
            return Verdict("clock", None, f"it could not be compared with a service's: {fault}")
        if ahead is None or abs(ahead) <= CLOCK_AHEAD_MAX:
            return None
        minutes = abs(ahead).total_seconds() / 60
        return Verdict("clock", False, f"this machine's clock differs by {minutes:,.0f} minutes from Microsoft's: no "
                                       "wait can be believed")

    # ------------------------------------------------------------------------------- the rules

    def _mx_to_cloud(self, act: Act, now: datetime) -> Verdict:
        """B-38, B-41, S-35, S1: everybody of the domain is in the cloud, and the old TTL has run out."""
        guard, domain = "mx_to_cloud", self._domain(act)
        left = self._not_ready(domain, now, converted=self.staged)
        if left is None:
            return Verdict(guard, False, f"the source lists no mailbox of {domain}: an empty list proves nothing")
        if left:
            return Verdict(guard, False, self._first(left, f"mailbox(es) of {domain} are not ready"))
        before = self.facts.before("mx_ttl", act.row)
        lowered = self.facts.held_since("mx_ttl", act.row)
        if before is not None and lowered is not None:
            due = lowered + timedelta(seconds=_seconds(before.get("ttl")))
            if now < due:
                return Verdict(guard, False, "the old TTL has not run out in other people's caches", due)
        if not self.facts.approved(act.template, act.row):
            return Verdict(guard, False, "no valid approval stands before it (an `approval` task of the same row)")
        return Verdict(guard, True, "every mailbox of the domain is in the cloud; the old TTL has run out; approved")

    def _mx_back(self, act: Act, now: datetime) -> Verdict:
        """S15: the way back is open while no batch of the domain has been removed."""
        batches = self.site.exchange_online.migration_batches()
        gone = [name for name in self._related("domains", self._domain(act), "batches") if name not in batches]
        if gone:
            return Verdict("mx_back", False, f"batch {gone[0]} is removed: mail could not be brought back")
        if not self.facts.approved(act.template, act.row):
            return Verdict("mx_back", False, "no valid approval stands before it")
        return Verdict("mx_back", True, "no batch of the domain is removed; approved")

    def _batch_removed(self, act: Act, now: datetime) -> Verdict:
        """B-42..B-46, S-34, S2, S2': the waits are over, nothing is left at the source, the history is kept."""
        guard, batch = "batch_removed", act.row
        if not self.facts.proven("batch_history", batch):
            return Verdict(guard, False, "its history is not exported: removing it deletes the history (B-55)")
        mailboxes = self._related("batches", batch, "mailboxes")
        if not mailboxes:
            return Verdict(guard, False, "no mailbox of the batch is known: an empty list proves nothing")
        idle = [address for address in mailboxes if self._has_a_person(address)
                and not self.facts.waived("mailboxes", address, "mailbox_use", *_MOVES)
                and not self.facts.proven("mailbox_use", address)]
        if idle:
            return Verdict(guard, False, self._first(idle, "mailbox(es) whose people do not work in the cloud (B-44)"))
        if self.staged:
            for address in mailboxes:
                if left := self._left_behind(address):
                    return Verdict(guard, False, left)
        else:
            ends = []
            for domain in self._related("batches", batch, "domains"):
                moved = self.facts.held_since("mx_switch", domain)
                if moved is None:
                    return Verdict(guard, False, f"MX of {domain} has not moved")
                old = (self.facts.before("mx_ttl", domain) or {}).get("ttl")
                ends.append(moved + max(MX_SETTLE_MIN, timedelta(seconds=_seconds(old))))
            if not ends:
                return Verdict(guard, False, "no domain of the batch is known: an empty list proves nothing")
            end = max(ends)
            if now < end:
                return Verdict(guard, False, "other mail systems may still use the old MX (B-42)", end)
            users = self.site.exchange_online.migration_users()
            for address in mailboxes:
                if self.facts.waived("mailboxes", address, *_MOVES):
                    continue
                user = users.get(address)
                if user is None or user.last_success is None or user.last_success < end:
                    return Verdict(guard, False, f"{address} was not synchronised after the wait's end (B-45)",
                                   now + timedelta(hours=1))
        if not self.facts.approved(act.template, act.row):
            return Verdict(guard, False, "no valid approval stands before it")
        return Verdict(guard, True, "the waits are over, every mailbox is done, the history is exported; approved")

    def _left_behind(self, address: str) -> str:
        """S-34: why something of a staged mailbox may be left at the source; "" when nothing can be.

        (b) it is converted, and forwarding is proven; or (c), once MX has moved: it forwards, and its source holds no
        more items than were compared. That it was synced after the switch, as the page says for cutover, is no proof:
        the service does not synchronise a staged batch again, and a restart moves the stamp without copying.
        """
        if self.facts.waived("mailboxes", address, *_MOVES):
            return ""
        found = self.site.directory.mailboxes().get(address)
        if found is None or not found.is_mailbox:
            if self.facts.proven("delivery_probe", address) or self.facts.waived("mailboxes", address, *_CONVERTS):
                return ""
            return f"forwarding of {address} is not proven yet (S-34 b)"
        why = f"{address} is not converted yet (S-34 b); a later sync is not waited for, a staged batch has none"
        moved = [self.facts.held_since("mx_switch", each) for each in self._related("mailboxes", address, "domains")]
        if not moved or None in moved or not self.facts.waived("mailboxes", address, *_CONVERTS):
            return why
        if found.target_address is None:
            return f"{address} is not converted, and its mail is not forwarded (S-34 c)"
        compared = self.facts.last("item_counts", address)
        now = self.site.ews.count(address).items
        held = (compared or {}).get("source_items")
        if not isinstance(held, int) or now > held:
            return (f"{address} is not converted, and its source may hold newer items: {now} now, {held} were "
                    "compared (S-34 c)")
        return ""

    def _batch_restarted(self, act: Act, now: datetime) -> Verdict:
        """S-34: a batch with a converted mailbox is never restarted: it would fail it, and move the stamp."""
        guard = "batch_restarted"
        if not self.staged:
            return Verdict(guard, True, "a cutover converts nothing")
        batches = [act.row] if act.template.kind == "batches" else list(
            self._related("mailboxes", act.row, "batches"))
        source = self.site.directory.mailboxes()
        for address in (each for batch in batches for each in self._related("batches", batch, "mailboxes")):
            found = source.get(address)
            if found is not None and not found.is_mailbox:
                return Verdict(guard, False, f"{address} of the same batch is converted already; "
                                             "put the mailbox into a batch of its own")
        return Verdict(guard, True, "no mailbox of the batch is converted")

    def _mailbox_converted(self, act: Act, now: datetime) -> Verdict:
        """S-27, S3, J9: synced, counts compared, properties saved; one first, then twenty, then all."""
        guard, address = "mailbox_converted", act.module.key().partition("/")[2]
        user = self.site.exchange_online.migration_users().get(address)
        if user is None or user.state != "synced":
            return Verdict(guard, False, f"the copy is not complete ({user.status if user else 'no migration user'})")
        found = self.site.exchange_online.recipients().get(address)
        if found is None or found.type != "mailbox":
            return Verdict(guard, False, "there is no cloud mailbox under the same address")
        if not self.facts.proven("item_counts", address) and not self.facts.waived("mailboxes", address, "item_counts"):
            return Verdict(guard, False, "the item counts of source and cloud were not compared")
        if not (act.diff.before or {}).get("saved"):
            return Verdict(guard, False, "its properties could not be saved before the conversion")
        if not self.facts.approved(act.template, act.row):
            return Verdict(guard, False, "no valid approval stands before it")
        return Verdict(guard, True, "synced, counts compared, properties saved; approved")

    def _directory_sync_off(self, act: Act, now: datetime) -> Verdict:
        """C-07, J4: never in a staged migration, whose users it makes."""
        if self.staged:
            return Verdict("directory_sync_off", False, "a staged migration needs directory synchronisation (S-06)")
        return Verdict("directory_sync_off", True, "a cutover needs it off (C-07)")

    def _autodiscover_moved(self, act: Act, now: datetime) -> Verdict:
        """B-49, S19: only when the last mailbox of the domain has moved."""
        guard, domain = "autodiscover_moved", self._domain(act)
        left = self._not_ready(domain, now, converted=self.staged, sync_age=False)
        if left is None:
            return Verdict(guard, False, f"the source lists no mailbox of {domain}: an empty list proves nothing")
        if left:
            return Verdict(guard, False, self._first(left, f"mailbox(es) of {domain} would lose Outlook"))
        return Verdict(guard, True, "every mailbox of the domain has moved")

    def _endpoint_changed(self, act: Act, now: datetime) -> Verdict:
        """B-18, J6: never while a batch that uses it runs."""
        endpoint = act.module.key().partition("/")[2]
        live = [name for name, batch in self.site.exchange_online.migration_batches().items()
                if batch.endpoint == endpoint and batch.status in ("Starting", "Syncing", "IncrementalSyncing")]
        if live:
            return Verdict("endpoint_changed", False, f"batch {live[0]} uses it and is running")
        return Verdict("endpoint_changed", True, "no running batch uses it")

    def _licence_removed(self, act: Act, now: datetime) -> Verdict:
        """B-47, B-48: a mailbox without a licence is disabled after the grace period.

        An approval that stands before the task was for giving the licence: taking it back wants a word of its own.
        """
        if act.approved if act.back else self.facts.approved(act.template, act.row):
            return Verdict("licence_removed", True, "approved")
        product = act.module.key().rpartition("/")[2]
        return Verdict("licence_removed", False, "without a licence the cloud mailbox is disabled after 30 days, and "
                       "nobody has approved that (B-48)", question=f"Take {product} away from {act.row}?")

    def _mailbox_reconnected(self, act: Act, now: datetime) -> Verdict:
        """S-27, U: a disconnected mailbox is deleted when its retention ends."""
        guard = "mailbox_reconnected"
        if act.since is None:
            return Verdict(guard, None, "nobody knows when it was converted")
        end = act.since + MAILBOX_RETENTION
        if now >= end:
            return Verdict(guard, False, f"converted {act.since:%Y-%m-%d}: its mailbox was kept until {end:%Y-%m-%d}, "
                                         "unless the database keeps deleted mailboxes longer")
        return Verdict(guard, True, f"the disconnected mailbox is kept until {end:%Y-%m-%d}")

    # ------------------------------------------------------------------------------- what they share

    def _domain(self, act: Act) -> str:
        if act.template.kind == "domains":
            return act.row
        _, zone, owner, _ = act.module.key().split("/")
        owner = owner.removeprefix("autodiscover").lstrip(".") or "@"
        return zone if owner == "@" else f"{owner}.{zone}"

    def _related(self, kind: str, row: str, other: str) -> Sequence[str]:
        try:
            return self.program.rows.related(kind, row, other)
        except (KeyError, LookupError):
            return ()

    def _not_ready(self, domain: str, now: datetime, *, converted: bool, sync_age: bool = True) -> list[str] | None:
        """Why the first few recipients of a domain are not ready; [] all are; None: the source lists nobody.

        The source's own complete listing counts, planned or not: a new hire re-opens the domain (S1').
        """
        source = self.site.directory.mailboxes()
        ours = [found for found in source.values() if domain in found.domains]
        if not ours:
            return None
        users = self.site.exchange_online.migration_users()
        cloud = self.site.exchange_online.recipients()
        licensed = self.site.graph.licensed_addresses()
        waived = self.facts.waived
        left = []
        for found in ours:
            address = found.address
            if self.facts.waived("mailboxes", address, *_MOVES):
                continue
            user, there = users.get(address), cloud.get(address)
            if there is None or there.type != "mailbox":
                left.append(f"{address}: no cloud mailbox")
            elif converted and found.is_mailbox and not waived("mailboxes", address, *_CONVERTS):
                left.append(f"{address}: not converted")
            elif not converted and (user is None or user.state != "synced") and sync_age:
                left.append(f"{address}: not synced")
            elif not converted and sync_age and (user is None or user.last_success is None
                                                 or now - user.last_success > SYNC_AGE_MAX):
                left.append(f"{address}: last synced more than 48 hours ago")
            elif address not in licensed and self._needs_licence(address) and not waived(
                    "mailboxes", address, "licence"):
                left.append(f"{address}: no licence (licences come before MX: C-22)")
            elif converted and not self.facts.proven("delivery_probe", address) and not waived(
                    "mailboxes", address, *_CONVERTS, "delivery_probe"):
                left.append(f"{address}: forwarding not proven")
            elif not self.facts.proven("item_counts", address) and not waived("mailboxes", address, "item_counts"):
                left.append(f"{address}: counts not compared")
        for kind in ("groups", "recipients"):
            for address in self._related("domains", domain, kind):
                if address not in cloud and not self.facts.waived(kind, address):
                    left.append(f"{address}: not in the cloud")
        return left

    def _needs_licence(self, address: str) -> bool:
        """A planned mailbox without a product (a shared one, a room) needs none; an unplanned one is not let off."""
        try:
            return bool(self.program.rows.fields("mailboxes", address).get("sku"))
        except KeyError:
            return True

    def _has_a_person(self, address: str) -> bool:
        """Shared mailboxes, rooms and equipment never act by themselves."""
        try:
            return self.program.rows.fields("mailboxes", address).get("type") in (None, "", "user")
        except KeyError:
            return True

    def _first(self, left: Sequence[str], what: str) -> str:
        return f"{len(left)} {what}: {left[0]}" + (" …" if len(left) > 1 else "")


def conversion_quota(done: int) -> int | None:
    """How many more mailboxes may be converted before the ones under way are read back; None: no limit (J9)."""
    first, second = CONVERSION_STEPS
    if done < first:
        return first
    return second if done < first + second else None


def _seconds(value: object) -> int:
    return value if isinstance(value, int) else 0


#: A waiver of one of these says that the mailbox does not move, or is not converted: what rests on it falls away.
_MOVES = ("mailbox_sync", "cloud_recipient")
_CONVERTS = ("mail_user_conversion",)

#: Phases that prove a thing for a guard.
PROVEN = frozenset({Phase.DONE, Phase.SUPERSEDED})
