"""The migration service: batches and migration users with their state machines, moved by the clock.

Transitions and refusals follow migration-service notes, sections 2 and 3 (pages: Manage migration batches, Migration
users status report, What you need to know about a staged email migration); what is [inferred] there is here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from engine.lab.endpoints import MigrationEndpoints
from engine.lab.facts import ServiceError, migration_error, migration_errors
from engine.lab.faults import draw
from engine.lab.objects import Batch, Endpoint, MigrationUser
from engine.lab.tenant import Tenant

CUTOVER_MAX = 2000
DAY = 86_400.0
STARTING_SECONDS = 60
VALIDATING_SECONDS = 60
PROVISIONING_SECONDS = 120
INCREMENTAL_SECONDS = 1800
STOPPING_SECONDS = 120
REMOVING_SECONDS = 300
IDLE_DAYS = 60
KEPT_DAYS = 90
COMPLETED_DAYS = 60
#: Statuses that come about without a cmdlet: by hand (`POST /fault`).
BEFALL = ("Corrupted", "Waiting", "Completed")

#: StatusSummary of each user status [inferred].
SUMMARY = {
    "Validating": "Active", "Queued": "Active", "Provisioning": "Active", "ProvisionUpdating": "Active",
    "Syncing": "Active", "IncrementalSyncing": "Active", "Stopping": "Active", "Removing": "Active",
    "Synced": "Synced", "Failed": "Failed", "IncrementalFailed": "Failed", "Stopped": "Stopped",
    "Corrupted": "Failed", "Completed": "Completed",
}
#: A batch is still syncing while a user is in one of these; a group that waits for a member does not hold it up.
BUSY = ("Validating", "Queued", "Provisioning", "Syncing", "Stopping")
RUNNING = ("Starting", "Syncing", "IncrementalSyncing", "Stopping")
#: Errors that show while mail is copied; all others already when the mailbox is provisioned.
WHILE_SYNCING = ("E11", "E12", "E13", "E25")
#: Errors that only cost time: the service gets over them by itself.
DELAYS = ("E14", "E15")
#: Errors before which the copy stands still.
STANDING_STILL = ("E12", "E13", "E15")


class Migration:
    """Every object of the migration service of one tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.clock = tenant.clock
        self.endpoints = MigrationEndpoints(tenant)
        self.batches: dict[str, Batch] = {}
        self.users: dict[str, MigrationUser] = {}
        tenant.faults.befall = self.befall

    # ---------------------------------------------------------------------------------------------- endpoints

    def endpoint_in_use(self, endpoint: Endpoint, running: bool = False) -> Batch | None:
        return next((batch for batch in self.batches.values() if batch.endpoint is endpoint
                     and (not running or batch.status in RUNNING)), None)

    def remove_endpoint(self, endpoint: Endpoint) -> None:
        batch = self.endpoint_in_use(endpoint)
        if batch is not None:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationEndpointInUseException",
                               f"The migration endpoint '{endpoint.name}' can't be removed: batch "
                               f"'{batch.name}' uses it.")
        self.endpoints.remove(endpoint)

    # ------------------------------------------------------------------------------------------------ batches

    def add_batch(self, batch: Batch, addresses: Sequence[str]) -> None:
        """New-MigrationBatch, its CSV already read. Refuses as the service does (E16, E18, E19)."""
        if batch.name.lower() in self.batches:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationBatchAlreadyExistsException",
                               f"A migration batch named '{batch.name}' already exists.")
        if len(self.batches) >= self.tenant.batches_max:
            raise migration_error("E16")
        if batch.kind == "cutover":
            self._check_cutover()
        elif batch.endpoint.type == "IMAP":
            pass  # of its mailboxes and its copy the lab knows nothing
        elif str(self.tenant.organisation.exchange) not in ("2003", "2007"):
            raise ServiceError("Microsoft.Exchange.Migration.MigrationPermanentException",
                               "Staged migration is supported for Exchange 2003 and Exchange 2007 only.")
        for address in addresses:
            if address in self.users:
                raise migration_error("E18", address=address, batch=self.users[address].batch.name)
        self.batches[batch.name.lower()] = batch
        self._add_users(batch, addresses)
        self._effect(f"batch/{batch.name} create")
        self.tenant.made(f"batch/{batch.name.lower()}")

    def replace_users(self, batch: Batch, addresses: Sequence[str]) -> None:
        """Set-MigrationBatch -CSVData, before the batch has run."""
        if batch.kind != "staged" or batch.started is not None:
            raise _cannot(batch, "be given another list of users")
        for address in addresses:
            if address in self.users and self.users[address].batch is not batch:
                raise migration_error("E18", address=address, batch=self.users[address].batch.name)
        self._drop_users(batch, batch.users)
        self._add_users(batch, addresses)
        self._effect(f"batch/{batch.name} change")

    def start(self, batch: Batch) -> None:
        """Start or resume; in the cloud also: try the failed users again. Error while it runs (trap 3)."""
        if batch.status in (*RUNNING, "Removing", *BEFALL):
            raise _cannot(batch, "be started")
        if batch.kind == "cutover" and self.tenant.sync_enabled:
            raise migration_error("E19")
        now = self.clock.now()
        batch.touched = now
        batch.turn += 1
        self._effect(f"batch/{batch.name} start")
        if batch.status == "Synced":
            batch.last_synced = now  # moves the stamp and copies nothing (S-34)
            self._rest(batch)
            return
        batch.status = "Starting"
        batch.started = batch.started or now
        self._later(batch, STARTING_SECONDS, self._run)

    def stop(self, batch: Batch) -> None:
        busy = any(batch.counts[each] for each in BUSY)
        continuing = batch.kind == "cutover" and batch.status in ("Synced", "SyncedWithErrors", "IncrementalSyncing")
        if (batch.status not in ("Starting", "Syncing") and not continuing) or (batch.status == "Syncing" and not busy):
            raise _cannot(batch, "be stopped")
        batch.touched = self.clock.now()
        batch.turn += 1
        batch.status = "Stopping"
        for user in batch.users:
            if SUMMARY[user.status] == "Active" and user.status != "IncrementalSyncing":
                self._release(user)
                self._set(user, "Stopping")
        self._effect(f"batch/{batch.name} stop")
        self._later(batch, STOPPING_SECONDS, self._stopped)

    def remove(self, batch: Batch) -> None:
        """Takes some minutes; then history and users are gone. A batch that is copying is stopped first [inferred]."""
        if batch.status in ("Starting", "Syncing", "Stopping", "Removing"):
            raise _cannot(batch, "be removed")
        batch.turn += 1
        batch.status = "Removing"
        self._effect(f"batch/{batch.name} remove")
        self._later(batch, REMOVING_SECONDS, self._removed)

    def stalled(self, user: MigrationUser) -> timedelta:
        """For how long a copy has stood still: the service's StalledDuration."""
        if user.status != "Syncing" or user.copying is None or self._error_of(user) not in STANDING_STILL:
            return timedelta(0)
        return self.clock.now() - user.copying

    def befall(self, name: str, status: str) -> None:
        """A status that no cmdlet of these methods brings about: damaged, waiting, completed. KeyError, ValueError."""
        batch = self.batches[name.lower()]
        if status not in BEFALL:
            raise ValueError(f"status: {status!r} is none of {', '.join(BEFALL)}")
        batch.turn += 1
        batch.status = status
        for user in batch.users:
            if status == "Corrupted":
                self._release(user)
                self._set(user, "Corrupted")
            elif status == "Completed" and user.status == "Synced":
                self._set(user, "Completed")
        self._rest(batch)

    def sync_now(self, batch: Batch) -> None:
        """Set-MigrationBatch -SyncNow: a staged batch has no incremental phase, and nothing happens."""
        batch.touched = self.clock.now()
        if batch.kind == "cutover" and batch.status in ("Synced", "SyncedWithErrors"):
            self._effect(f"batch/{batch.name} sync")
            self._begin_incremental(batch)

    # -------------------------------------------------------------------------------------------------- users

    def start_user(self, user: MigrationUser) -> None:
        if user.status not in ("Failed", "IncrementalFailed", "Stopped") or user.batch.started is None:
            raise _cannot(user.batch, f"start '{user.address}'")
        self._effect(f"migration_user/{user.address} start")
        user.batch.touched = self.clock.now()
        user.batch.turn += 1
        user.batch.status = "Syncing"
        self._begin(user.batch, [user])

    def stop_user(self, user: MigrationUser) -> None:
        if user.status not in BUSY or user.status == "Stopping":
            raise _cannot(user.batch, f"stop '{user.address}'")
        self._effect(f"migration_user/{user.address} stop")
        self._release(user)
        self._set(user, "Stopped")
        self._settle(user.batch)

    def remove_user(self, user: MigrationUser) -> None:
        self._effect(f"migration_user/{user.address} remove")
        self._drop_users(user.batch, [user])
        self._settle(user.batch)

    def _add_users(self, batch: Batch, addresses: Iterable[str], kind: str = "Mailbox") -> None:
        for address in addresses:
            user = MigrationUser(address, batch, self.tenant.identifier("migration user", batch.name, address), kind)
            batch.users.append(user)
            batch.counts[user.status] += 1
            self.users[address] = user

    def _drop_users(self, batch: Batch, users: Sequence[MigrationUser]) -> None:
        for user in list(users):
            self._release(user)
            batch.counts[user.status] -= 1
            self.users.pop(user.address, None)
        gone = set(users)
        batch.users[:] = [user for user in batch.users if user not in gone]

    # ------------------------------------------------------------------------------------------- state machine

    def _run(self, batch: Batch) -> None:
        batch.status = "Syncing"
        if batch.kind == "cutover":
            self._find_source(batch)
        self._notify(batch, "has started")
        again = [user for user in batch.users if user.status in ("Stopped", "Failed", "IncrementalFailed")
                 and user.kind == "Mailbox"]
        self._begin(batch, again)

    def _find_source(self, batch: Batch) -> None:
        """A cutover takes everything that the address lists show, each time it is started."""
        source = self.tenant.organisation
        self._add_users(batch, (address.lower() for address, each in source.mailboxes.items()
                                if each.is_mailbox and not each.hidden and address.lower() not in self.users))
        for kind, addresses in (("Contact", list(source.contacts)), ("Group", list(source.groups))):
            self._add_users(batch, [each for each in addresses if each not in self.users], kind)

    def _begin(self, batch: Batch, users: Sequence[MigrationUser]) -> None:
        for user in users:
            user.turn += 1
            user.attempts += 1
            user.error = None
            user.queued = self.clock.now()
            self._set(user, "Validating")
        turns = [(user, user.turn) for user in users]

        def queue() -> None:
            for user, turn in turns:
                if user.turn == turn:
                    self._set(user, "Queued")
                    batch.endpoint.queue.append((user, turn))
            self._fill(batch.endpoint)
            self._settle(batch)

        self.clock.after(VALIDATING_SECONDS, queue)

    def _fill(self, endpoint: Endpoint) -> None:
        """Free slots take the next users in turn."""
        while endpoint.active < endpoint.max_migrations and endpoint.queue:
            user, turn = endpoint.queue.popleft()
            if user.turn == turn:
                endpoint.active += 1
                user.holds_slot = True
                self._set(user, "Provisioning")
                self._later_user(user, PROVISIONING_SECONDS, self._provisioned)

    def _provisioned(self, user: MigrationUser) -> None:
        try:
            self._provision(user)
        except ServiceError as error:
            self._fail(user, error)
            return
        self._set(user, "Syncing")
        user.copying = self.clock.now()
        source = self.tenant.organisation.mailboxes[user.address]
        minutes = 15 + source.size_mb / 20 * (0.7 + 0.9 * draw(self.tenant.seed, "rate", user.address))
        number = self._error_of(user)
        if number in WHILE_SYNCING:
            self._later_user(user, 5 * 3600, lambda user: self._fail(user, migration_error(
                number, address=user.address, count=6, time=_text(user.queued))))
            return
        if number in DELAYS:  # told while it lasts, as the service shows the last fault of a copy that goes on
            user.error = migration_error(number)
        self._later_user(user, minutes * 60 * (3 if number in DELAYS else 1), self._synced)

    def _provision(self, user: MigrationUser) -> None:
        """Make or convert the cloud object, and let the source forward (staged). Raises what the user fails with."""
        tenant, address = self.tenant, user.address
        self.endpoints.connect(user.batch.endpoint)
        source = tenant.organisation.mailboxes.get(address)
        if source is None or not source.is_mailbox:
            raise migration_error("E06", address=address)
        number = self._error_of(user)
        if number is not None and number not in (*WHILE_SYNCING, *DELAYS, "E24"):
            raise migration_error(number, address=address, holder=address)
        if not tenant.is_accepted(address):
            raise migration_error("E20", address=address)
        held = tenant.recipients.get(address)
        if user.batch.kind == "cutover":
            holder = tenant.holder([address, *source.aliases])
            if holder is None:
                bad = next((each for each in source.aliases if not tenant.is_accepted(each)), None)
                if bad:
                    raise migration_error("E20", address=bad)
                tenant.add_mailbox(source)
                user.provisioned = True
            elif not user.provisioned and not (holder is held and holder.is_mailbox):
                raise migration_error("E21", address=address, holder=holder.name)
            return
        if not tenant.sync_enabled:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationPermanentException",
                               "Staged migration needs directory synchronization to be turned on.")
        if held is None or not held.is_user or held.kind == "User":
            raise migration_error("E07", address=address)
        if held.kind == "MailUser":
            tenant.convert_to_mailbox(held, source.type)
            self._notify(user.batch, f"created the mailbox {address}")
        if number == "E24":
            raise migration_error("E24", address=address)
        if source.target_address != held.routing_address:
            tenant.organisation.set_target_address(address, held.routing_address)

    def _error_of(self, user: MigrationUser) -> str | None:
        source = self.tenant.organisation.mailboxes[user.address]
        number = self.tenant.faults.mailbox_error(user.address, source.fail)
        if number is not None and migration_errors()[number]["retry"] == "yes" and user.attempts > 1 \
                and number not in DELAYS:
            return None
        return number

    def _synced(self, user: MigrationUser) -> None:
        user.error = None
        self._copy(user)
        self._set(user, "Synced")
        self._release(user)
        self._settle(user.batch)

    def _copy(self, user: MigrationUser) -> None:
        """The cloud mailbox now holds what the source held at this moment, less what was skipped."""
        source, mailbox = self.tenant.organisation.mailboxes[user.address], self.tenant.recipients[user.address]
        by_hand = self.tenant.faults.skipped.get(user.address)
        if by_hand is not None:
            user.skipped = min(by_hand[0], source.items)
        elif source.items > 500 and draw(self.tenant.seed, "skipped", user.address) < 0.02:
            user.skipped = 1 + int(draw(self.tenant.seed, "how many", user.address) * 3)
        items, size = source.items - user.skipped, int(source.size_mb * 1024 * 1024)
        mailbox.items += items - user.items
        mailbox.size_bytes += size - user.size_bytes
        user.items, user.size_bytes = items, size
        user.last_success = self.clock.now()

    def _fail(self, user: MigrationUser, error: ServiceError) -> None:
        user.error = error
        self._set(user, "Failed")
        self._release(user)
        self._settle(user.batch)

    def _settle(self, batch: Batch) -> None:
        """When the last busy user is done, the batch is Synced, SyncedWithErrors or Failed."""
        if batch.status != "Syncing" or any(batch.counts[each] for each in BUSY):
            return
        self._make_groups(batch)
        failed = batch.counts["Failed"] + batch.counts["IncrementalFailed"]
        now = self.clock.now()
        batch.turn += 1
        batch.status = "Synced" if not failed else "SyncedWithErrors" if batch.counts["Synced"] else "Failed"
        batch.last_synced = now
        batch.initial_sync = batch.initial_sync or now
        self._notify(batch, f"is {batch.status}")
        self._rest(batch)

    def _make_groups(self, batch: Batch) -> None:
        """Cutover: contacts and distribution groups, whose members must have come first (E22)."""
        tenant, source = self.tenant, self.tenant.organisation
        for user in batch.users:
            if user.kind == "Mailbox" or user.status == "Synced":
                continue
            held, missing = tenant.recipients.get(user.address), 0
            if user.kind == "Contact":
                contact = source.contacts[user.address]
                held or tenant.add_contact(user.address, contact.name, contact.target_address)
            elif not tenant.is_accepted(user.address):
                user.error = migration_error("E20", address=user.address)
                self._set(user, "Failed")
                continue
            else:
                # The service makes distribution groups only; a security group must be there before.
                group = source.groups[user.address]
                held = held or tenant.add_group(user.address, group.name, (), security=False)
                members = [each for each in group.members if tenant.holder([each]) is not None]
                missing = len(group.members) - len(members)
                if sorted(held.members) != sorted(members):
                    held.members = members
                    self._effect(f"group/{held.address} members")
            user.error = migration_error("E22") if missing else None
            user.last_success = self.clock.now()
            self._set(user, "ProvisionUpdating" if missing else "Synced")

    def _rest(self, batch: Batch) -> None:
        """Nothing runs: what comes by itself after a day, 60 days, 90 days."""
        if batch.kind == "cutover" and batch.status in ("Synced", "SyncedWithErrors"):
            self._later(batch, DAY, self._begin_incremental)
        if batch.status == "Synced":
            touched = batch.touched
            self.clock.at(touched + timedelta(days=IDLE_DAYS), lambda: self._idle(batch, touched))
        elif batch.status in ("Stopped", "Failed"):
            self._later(batch, KEPT_DAYS * DAY, self._removed)
        elif batch.status == "Completed":
            self._later(batch, COMPLETED_DAYS * DAY, self._removed)

    def _idle(self, batch: Batch, touched: datetime) -> None:
        if batch.touched == touched and batch.status in ("Synced", "IncrementalSyncing"):
            batch.turn += 1
            self._stopped(batch)

    def _begin_incremental(self, batch: Batch) -> None:
        batch.turn += 1
        before, batch.status = batch.status, "IncrementalSyncing"
        for user in batch.users:
            if user.status == "Synced" and user.kind == "Mailbox":
                self._set(user, "IncrementalSyncing")
        self._later(batch, INCREMENTAL_SECONDS, lambda batch: self._incremented(batch, before))

    def _incremented(self, batch: Batch, status: str) -> None:
        for user in batch.users:
            if user.status == "IncrementalSyncing":
                if user.address in self.tenant.organisation.mailboxes:
                    self._copy(user)
                    self._set(user, "Synced")
                else:
                    user.error = migration_error("E06", address=user.address)
                    self._set(user, "IncrementalFailed")
        batch.status = "SyncedWithErrors" if batch.counts["IncrementalFailed"] else status
        batch.last_synced = self.clock.now()
        self._rest(batch)

    def _stopped(self, batch: Batch) -> None:
        for user in batch.users:
            if SUMMARY[user.status] == "Active":
                self._set(user, "Synced" if user.status == "IncrementalSyncing" else "Stopped")
        batch.status = "Stopped"
        self._rest(batch)

    def _removed(self, batch: Batch) -> None:
        batch.turn += 1
        self._drop_users(batch, batch.users)
        self.batches.pop(batch.name.lower(), None)

    # ------------------------------------------------------------------------------------------------- pieces

    def _check_cutover(self) -> None:
        if self.tenant.sync_enabled:
            raise migration_error("E19")
        if any(each.endpoint.type == "IMAP" for each in self.batches.values()):  # user report
            raise ServiceError("Microsoft.Exchange.Migration.MigrationPermanentException",
                               "A cutover migration batch can't be created while an IMAP migration batch exists.")
        if any(each.kind == "cutover" for each in self.batches.values()):
            raise ServiceError("Microsoft.Exchange.Migration.MigrationPermanentException",
                               "Only one cutover migration batch may exist.")
        if sum(not each.hidden for each in self.tenant.organisation.mailboxes.values()) > CUTOVER_MAX:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationPermanentException",
                               f"A cutover migration takes at most {CUTOVER_MAX} mailboxes.")

    def _set(self, user: MigrationUser, status: str) -> None:
        user.batch.counts[user.status] -= 1
        user.batch.counts[status] += 1
        user.status = status

    def _release(self, user: MigrationUser) -> None:
        """What was planned for the user is off, and its slot is free."""
        user.turn += 1
        if user.holds_slot:
            user.holds_slot = False
            user.batch.endpoint.active -= 1
            self._fill(user.batch.endpoint)

    def _later(self, batch: Batch, seconds: float, act: Callable[[Batch], object]) -> None:
        turn = batch.turn
        self.clock.after(seconds, lambda: act(batch) if batch.turn == turn else None)

    def _later_user(self, user: MigrationUser, seconds: float, act: Callable[[MigrationUser], object]) -> None:
        turn = user.turn
        self.clock.after(seconds, lambda: act(user) if user.turn == turn else None)

    def _effect(self, name: str) -> None:
        self.tenant.counters.effect(name)

    def _notify(self, batch: Batch, what: str) -> None:
        """The status mails of New-MigrationBatch -NotificationEmails."""
        for address in batch.notification_emails:
            self.tenant.transport.send(
                f"admin@{self.tenant.initial_domain}", address,
                f"<{self.tenant.identifier('status', batch.name, what)}@{self.tenant.initial_domain}>",
                f"Migration batch {batch.name} {what}")

    def state(self) -> dict[str, object]:
        """Canonical: no times, GUIDs or request ids."""
        return {
            "endpoints": self.endpoints.state(),
            "batches": {b.name: {"status": b.status, "kind": b.kind, "endpoint": b.endpoint.name,
                                 "users": {u.address: u.status for u in sorted(b.users, key=lambda u: u.address)}}
                        for _, b in sorted(self.batches.items())},
        }


def _cannot(batch: Batch, what: str) -> ServiceError:
    return ServiceError("Microsoft.Exchange.Migration.MigrationBatchStateException",
                        f"Migration batch '{batch.name}' can't {what}: its status is {batch.status}.")


def _text(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
