"""Watches a story from outside and says which promise was broken. Written from the promises, not from the engine.

It sees what really happens in the lab and what lies on the operators' disks, the moment it happens. It asks none of
the engine's guards, and reads the journal with SQL. Names of promises: S… safety, L… liveness.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from engine.lab.serving import Laboratory
from tests.simulation.machine import Database

#: Effects that may happen once to one thing, by their last word; a mail has one id.
ONCE = frozenset({"create", "add", "verify", "convert", "deliver", "assign"})
MICROSOFT = (".mail.protection.outlook.com.", ".mx.microsoft.")
SETTLE = timedelta(hours=72)
SYNC_AGE_MAX = timedelta(hours=48)
FRESH = timedelta(minutes=15)
LATE_MAX = timedelta(seconds=60)
#: After a holder's death another may go on.
LEASE = timedelta(seconds=90)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Violation(BaseException):
    """A promise that did not hold. The story ends there, whatever would catch an exception on the way."""

    def __init__(self, promise: str, found: str) -> None:
        super().__init__(f"{promise}: {found}")
        self.promise = promise


@dataclass
class Observer:
    """One story's. `plans`: programs that must not change anything, by the name of their process."""

    lab: Laboratory
    rows: Mapping[str, list[dict[str, Any]]]
    staged: bool
    running: Callable[[], str]
    told: list[str] | None = None
    broken: Violation | None = None
    events: int = 0
    effects: int = 0
    _digest: Any = field(default_factory=blake2b)
    seq: int = 0
    head: bytes = b""
    time: int = 0
    fence: int = 0
    #: identity → (key, row, module): begun, and nothing known of its end
    open: dict[bytes, tuple[str, str, str]] = field(default_factory=dict)
    #: identity → the record sets beside its own that an open intent says it changes (its field `others`)
    beside: dict[bytes, frozenset[str]] = field(default_factory=dict)
    #: (kind of record, module, row) → how many
    records: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    waived: set[tuple[str, str]] = field(default_factory=set)
    redone: set[str] = field(default_factory=set)
    consents: int = 0
    once: Counter[str] = field(default_factory=Counter)
    #: domain → (when its MX changed last, whether to the cloud); zone/owner → longest TTL seen and when it was lowered
    moved: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    ttl: dict[str, tuple[int, datetime | None]] = field(default_factory=dict)
    hired: dict[str, datetime] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    converted: int = 0
    #: guarded acts that a run may do at most, and what the present one has done of them
    budget: int | None = None
    guarded: set[str] = field(default_factory=set)
    #: what this run has recorded of each instance: when, in journal time, and when it is to be looked at again
    noted: dict[bytes, tuple[int, datetime | None]] = field(default_factory=dict)
    #: the run's record of the process that is up; None before it: the preflight has not let it begin
    began: int | None = None
    #: the last time that it waited for though it had passed
    passed: datetime | None = None
    #: all that any process has put in a file's place
    whole: dict[Path, set[bytes]] = field(default_factory=dict)
    database: Database | None = None
    #: task label → module, told by the story from the playbook
    modules: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lab.counters.heard = self.hear
        self.tenant = self.lab.tenant.id
        for domain in self.lab.organisation.domains:
            self.ttl[domain] = (self._mx(domain)[1], None)

    def note(self, *words: object) -> None:
        """One more event of the story."""
        self.events += 1
        line = f"{self.lab.clock.now():%Y-%m-%d %H:%M:%S}  " + "  ".join(map(str, words))
        self._digest.update(line.encode() + b"\n")
        if self.told is not None:
            self.told.append(line)

    @property
    def digest(self) -> str:
        return str(self._digest.hexdigest()[:32])

    # --------------------------------------------------------------------------------------------- the lab

    def hear(self, what: str, name: str) -> None:
        who = self.running()
        self.note(what, name, "by", who or "the world")
        if what == "effect" and self.broken is None:
            self.effects += 1
            try:
                self._effect(name, who if self.lab.counters.handling else "")
            except Violation as violation:
                self.broken = violation  # the lab is not to be torn out of its work; `judge` raises it

    def judge(self) -> None:
        """Raises what was seen to be broken since."""
        if self.broken is not None:
            raise self.broken

    def _effect(self, name: str, who: str) -> None:
        thing, _, verb = name.rpartition(" ")
        if verb in ONCE or (verb == "remove" and thing.startswith("batch/")):
            self.once[name] += 1
            if self.once[name] > 1 and not self._redone(thing):
                raise Violation("S4", f"{name} has happened {self.once[name]} times")
        came = self.lab.tokens.came_for
        if who and self.lab.counters.handling.startswith(("graph", "exo")) and came != self.tenant:
            raise Violation("S16", f"{name} with a token of the tenant {came}; {self.tenant} is the pinned one")
        if who in ("plan", "person"):
            if who == "plan":
                raise Violation("S8", f"a preview changed something: {name}")
            return
        if who and not self.consents:
            raise Violation("S7", f"{name} without any consent in the journal")
        if who and not self._intended(thing):
            begun = sorted(key for key, _, _ in self.open.values())
            raise Violation("S7", f"{name} without an open intent; open: {begun[:5]}")
        match thing.split("/"):
            case ["dns", zone, owner, "MX"]:
                self._mx_changed(zone if owner == "@" else f"{owner}.{zone}", bool(who))
            case ["dns", zone, owner, _] if owner.startswith("autodiscover") and who:
                self._spend(f"{owner} of {zone}", True)
                self._all_there(owner.removeprefix("autodiscover").lstrip(".") + ("." if "." in owner else "") + zone,
                                "S19", fresh=False)
            case ["batch", batch] if verb == "remove":
                self.removed.add(batch)
                self._spend(name, bool(who))
                if who:
                    self._batch_removed(batch)
            case ["conversion", address] if verb == "convert":
                self._spend(name, bool(who))
                self._conversion(address)

    def replaced(self, path: Path, content: bytes) -> None:
        self.whole.setdefault(path, set()).add(content)

    def files(self, folder: Path) -> None:
        """S18: every file that the programs have written holds what was once put in its place as a whole."""
        for path in folder.rglob("*"):
            if path.is_file() and not path.name.startswith((".", "journal.")) and (
                    path.read_bytes() not in self.whole.get(path, ())):
                raise Violation("S18", f"{path.name} is neither what it was nor what was to be written")

    def starts(self) -> None:
        """A process that has the migration to itself comes up."""
        self.began = self.database = None

    def locked(self, died: datetime | None) -> None:
        """L5: a run was refused because another holds the migration, and nothing else is alive."""
        now = self.lab.clock.now()
        if died is None or now > died + LEASE:
            raise Violation("L5", f"locked, and the last holder died {died}")

    def _spend(self, what: str, ours: bool) -> None:
        """One of the acts that a run has a budget of: mail or clients led elsewhere, a batch removed, a conversion."""
        if ours:
            self.guarded.add(what)
        if self.budget is not None and len(self.guarded) > self.budget:
            raise Violation("S11", f"{what} is guarded act {len(self.guarded)} of a run that may do {self.budget}")

    def _redone(self, thing: str) -> bool:
        """Whether a person has said that it was not done, and may be done again. A letter is named by its id."""
        return thing in self.redone or any(thing.startswith("mail/<mailmove." + ".".join(key.split("/")[:2]) + ".")
                                           for key in self.redone)

    def _intended(self, thing: str) -> bool:
        family, _, rest = thing.partition("/")
        keys = {key for key, _, _ in self.open.values()}
        if family.startswith("dns"):  # what stands in the way of a record at its name goes with it
            place = thing.rpartition("/")[0].replace("dns inside/", "dns/")
            return any(key.rpartition("/")[0].replace("inside:", "") == place for key in keys) or any(
                thing in named for named in self.beside.values())
        if family == "batch" and {f"batch_sync/{rest}", f"progress/{rest}"} & keys:  # started again by another task
            return True
        if family in ("batch", "endpoint", "domain", "licence", "conversion", "forwarding", "throttling_pause",
                      "directory_sync"):
            return thing in keys or any(key.startswith(f"{thing}/") for key in keys)
        if family == "migration_user":
            return f"sync/{rest}" in keys or any(key.startswith("batch/") for key in keys)
        if family == "mail":
            return any(key.startswith(("mail/", "probe/")) for key in keys)
        return bool(keys)

    # ----------------------------------------------------------------------------------- dangerous transitions

    def _mx(self, domain: str) -> tuple[list[str], int]:
        """Values and TTL as the primary has them."""
        zone = max((each for each in self.lab.organisation.dns.names() if f".{domain}".endswith(f".{each}")), key=len)
        owner = domain.removesuffix(zone).rstrip(".") or "@"
        values = self.lab.organisation.dns.state()[zone].get(f"{owner} MX", [])
        return [each.partition(" ")[2] for each in values], int(values[0].split()[0]) if values else 0

    def _mx_changed(self, domain: str, ours: bool) -> None:
        now, (values, ttl) = self.lab.clock.now(), self._mx(domain)
        cloud = bool(values) and all(value.endswith(MICROSOFT) for value in values)
        longest, lowered = self.ttl[domain]
        before = self.moved.get(domain, (now, False))
        if not cloud and ttl < longest and lowered is None:
            self.ttl[domain] = (longest, now)
        if cloud == before[1]:
            return
        self._spend(f"MX of {domain}", ours)
        lag = timedelta(seconds=self.lab.organisation.dns.lag_seconds)
        self.moved[domain] = (now + lag, cloud)
        if not cloud or not ours:
            return
        if lowered is None or now < lowered + timedelta(seconds=longest):
            raise Violation("S1", f"MX of {domain} moves before its old TTL of {longest} s has run out")
        self._all_there(domain, "S1", fresh=True)
        if not any(kind == "approved" and row == domain for kind, _, row in self.records):
            raise Violation("S1", f"MX of {domain} moves without an approval")
        gone = [batch for batch in self.removed if domain in self._domains_of(batch)]
        if gone:
            raise Violation("S15", f"MX of {domain} moves when {gone[0]} is removed: there is no way back")

    def _all_there(self, domain: str, promise: str, *, fresh: bool) -> None:
        lab, now = self.lab, self.lab.clock.now()
        ours = [each for each in lab.organisation.mailboxes.values()
                if any(address.endswith(f"@{domain}") for address in (each.address, *each.aliases))]
        if not ours:
            raise Violation(promise, f"{domain} has no mailbox at the source: an empty set proves nothing")
        skus = {row["address"].lower(): row.get("sku") for row in self.rows["mailboxes"]}
        for each in ours:
            address = each.address
            if self._is_waived(address) or now - self.hired.get(address, now - FRESH) < FRESH:
                continue
            held, user = lab.tenant.recipients.get(address), lab.migration.users.get(address)
            if held is None or not held.is_mailbox:
                raise Violation(promise, f"{domain} moves while {address} has no cloud mailbox")
            if self.staged and each.is_mailbox and not self._waived_task(address, "mail_user_conversion"):
                raise Violation(promise, f"{domain} moves while {address} is not converted")
            if not self.staged and fresh and (user is None or user.last_success is None or
                                              now - user.last_success > SYNC_AGE_MAX):
                raise Violation(promise, f"{domain} moves while {address} was last synchronised "
                                         f"{user and user.last_success}")
            if fresh and skus.get(address, "?") and not held.licences and not self._waived_task(address, "licence"):
                raise Violation(promise, f"{domain} moves while {address} has no licence")

    def _is_waived(self, address: str) -> bool:
        return any(self._waived_task(address, module) for module in ("mailbox_sync", "cloud_recipient"))

    def _waived_task(self, address: str, module: str) -> bool:
        return (address, module) in self.waived

    def _members(self, batch: str) -> list[str]:
        return [row["address"].lower() for row in self.rows["mailboxes"] if row.get("batch") == batch]

    def _domains_of(self, batch: str) -> set[str]:
        members = set(self._members(batch))
        return {address.partition("@")[2] for address in members} & set(self.lab.organisation.domains)

    def _batch_removed(self, batch: str) -> None:
        now, lab = self.lab.clock.now(), self.lab
        members = self._members(batch)
        if not members:
            raise Violation("S13", f"{batch} is removed, and nobody knows a mailbox of it")
        if not self.records["settled", "batch_history", batch]:
            raise Violation("S2", f"{batch} is removed before its history is exported")
        if not self.records["approved", "approval", batch]:
            raise Violation("S2", f"{batch} is removed without an approval")
        for address, came in self.hired.items():
            moved, cloud = self.moved.get(address.partition("@")[2], (now, False))
            user = lab.migration.users.get(address)
            if (cloud and came > moved and now - came >= FRESH and address.partition("@")[2] in self._domains_of(batch)
                    and lab.organisation.mailboxes[address].is_mailbox and not self._is_waived(address)
                    and (user is None or user.last_success is None)):
                raise Violation("S1'", f"{batch} is removed while {address}, made after MX moved, is not copied")
        if self.staged:
            for address in members:
                source = lab.organisation.mailboxes.get(address)
                if source is None or self._is_waived(address) or self._waived_task(address, "mail_user_conversion"):
                    continue
                if source.is_mailbox:
                    raise Violation("S2'", f"{batch} is removed while {address} is not converted")
                if source.target_address is None:
                    raise Violation("S2'", f"{batch} is removed while {address} forwards nowhere")
            return
        for domain in self._domains_of(batch):
            moved, cloud = self.moved.get(domain, (now, False))
            end = moved + max(SETTLE, timedelta(seconds=self.ttl[domain][0]))
            if not cloud or now < end:
                raise Violation("S2", f"{batch} is removed before {end:%Y-%m-%d %H:%M}, when {domain} has settled")
            for address in members:
                user = lab.migration.users.get(address)
                if user is not None and not self._is_waived(address) and (
                        user.last_success is None or user.last_success < end):
                    raise Violation("S2", f"{batch} is removed; {address} was last synchronised {user.last_success}, "
                                          f"{domain} settled {end}")

    def _conversion(self, address: str) -> None:
        lab = self.lab
        user, held = lab.migration.users.get(address), lab.tenant.recipients.get(address)
        if user is not None and user.status not in ("Synced", "Completed", "Stopped"):
            raise Violation("S3", f"{address} is converted while its copy is {user.status}")
        if held is None or not held.is_mailbox:
            raise Violation("S3", f"{address} is converted and has no cloud mailbox")
        if not self.records["settled", "item_counts", address] and not self._waived_task(address, "item_counts"):
            raise Violation("S3", f"{address} is converted before its items were counted")
        if not self.records["saved", "mail_user_conversion", address]:
            raise Violation("S3", f"{address} is converted before its properties were saved")
        self.converted += 1
        if self.converted == 2 and not any(kind == "settled" and module == "mail_user_conversion"
                                           for kind, module, _ in self.records):
            raise Violation("S3", f"{address} is converted before the first one was read back")

    # ------------------------------------------------------------------------------------------- the journal

    def committed(self, database: Database) -> None:
        """A transaction of the journal has just become durable."""
        def ask(sql: str, *values: object) -> list[Any]:
            return sqlite3.Connection.execute(database, sql, values).fetchall()

        self.database = database
        ((seq, digest, at, fence),) = ask("SELECT seq, digest, at, fence FROM head")
        if seq < self.seq:
            raise Violation("S5", f"the journal has gone back from record {self.seq} to {seq}")
        if at < self.time:
            raise Violation("S14", "journal time has gone back")
        if fence < self.fence:
            raise Violation("S6", f"the fence has gone back from {self.fence} to {fence}")
        if seq > self.seq:
            if self.seq:
                kept = ask("SELECT digest FROM events WHERE seq = ?", self.seq)
                if not kept or kept[0][0] != self.head:
                    raise Violation("S5", f"record {self.seq} was shown as done and is no longer there")
            for row in ask("SELECT e.at, e.fence, l.text, e.row, e.key, e.identity, e.body FROM events e "
                           "JOIN labels l ON l.id = e.label WHERE e.seq > ? ORDER BY e.seq", self.seq):
                self._record(*row, live=fence)
        self.seq, self.head, self.time, self.fence = seq, digest, at, fence

    def _record(self, at: int, fence: int | None, label: str, row: str, key: str, identity: bytes, body: str, *,
                live: int) -> None:
        kind, task, _, module = json.loads(label)
        self.note("record", kind, task, row)
        if fence is not None and fence != live:
            raise Violation("S6", f"a record {kind} with fence {fence} while {live} is live")
        if at < self.time:
            raise Violation("S14", f"a record {kind} is older than the one before")
        self.records[kind, module, row] += 1
        if kind == "run":
            self.guarded, self.began = set(), at
            self.noted.clear()
        elif kind in ("parked", "failed", "settled", "unsettled", "waived"):
            until = json.loads(body).get("until") if kind == "parked" else None
            self.noted[identity] = at, until and datetime.fromisoformat(until["$time"])
        if kind == "consented":
            self.consents += 1
        elif kind in ("intent", "undoing"):
            self.open[identity] = (key, row, module)
            if key.startswith("dns/"):
                self.beside[identity] = _beside(key, json.loads(body))
            if module == "mail_user_conversion" and (json.loads(body).get("before") or {}).get("saved"):
                self.records["saved", module, row] += 1
        elif kind in ("result", "settled", "undone"):
            self.open.pop(identity, None)
            self.beside.pop(identity, None)
        elif kind == "approved":
            self.records[kind, "approval", row] += 1
        elif kind == "waived":
            self.waived.add((row, self._module_of(task)))
        elif kind == "resolved" and json.loads(body).get("redo"):
            self.redone.add(key)
        elif kind == "ended":
            self._counted(json.loads(body))

    def waits(self, until: datetime | None) -> None:
        """L2: a run that waits asks to be woken no later than its first timer is due, and does what it was woken for.

        Only where the operator's clock is right: what a run wrote by a wrong one is due by that.
        """
        if self.began is None or self.database is None:
            return
        due: dict[bytes, datetime] = {each: when for each, (_, when) in self.noted.items() if when is not None}
        for identity, wake, at in sqlite3.Connection.execute(
                self.database, "SELECT identity, wake, at FROM last_seen WHERE at >= ?", (self.began,)):
            if at > self.noted.get(identity, (0, None))[0]:
                due.pop(identity, None)
                if wake is not None:
                    due[identity] = _EPOCH + timedelta(microseconds=wake)
        first, now = min(due.values(), default=None), self.lab.clock.now()
        if first is not None and (until is None or until > max(first, now) + LATE_MAX):
            raise Violation("L2", f"a run waits until {until}, and a timer of it is due {first}")
        if until is not None and until < now:  # it is woken at once; what it was woken for is then done
            if until == self.passed:
                raise Violation("L2", f"a run was woken, and waits again for what was due {until}")
            self.passed = until

    def _module_of(self, task: str) -> str:
        return self.modules.get(task, "")

    def _counted(self, body: Mapping[str, Any]) -> None:
        total = sum(sum(each.values()) for each in body["by_task"])
        if total != sum(body["counts"].values()):
            raise Violation("S12", "the phases of the tasks do not add up to the counts")

    # ------------------------------------------------------------------------------------------------ the end

    def end(self) -> None:
        """What must hold when a migration is finished."""
        if self.open:
            raise Violation("L7", f"finished, and in doubt: {sorted(self.open.values())[:3]}")
        for held in self.lab.tenant.recipients.values():
            if held.disabled:
                raise Violation("S17", f"{held.address} was disabled for want of a licence")


def _beside(key: str, body: Mapping[str, Any]) -> frozenset[str]:
    """The record sets that the change of `others` in an intent names: each line there is "label ttl type data"."""
    zone = "/".join(key.split("/")[:2])
    lines = [line for name, *values in body.get("changes", ()) if name == "others" for value in values
             for line in value or ()]
    return frozenset(f"{zone}/{owner}/{kind}" for owner, _, kind, _ in (line.split(" ", 3) for line in lines))
