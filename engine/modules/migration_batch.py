"""migration_batch: a batch of mailboxes that exists, runs, or is gone."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from engine.connections import Site
from engine.connections.batch_csv import parse
from engine.connections.csv_sheet import content
from engine.connections.migration_objects import BATCH_LADDER, MigrationUser, by_name, byte_array, moment
from engine.connections.service_errors import classify
from engine.contract import AtLeast, Change, Diff, Failing, Outlook, Rejected, State, Unreachable, Waiting, Want
from engine.modules.base import Effect, Module, Undo
from engine.modules.batch_history import export, outdated

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_STRICT_NAME = re.compile(r"[A-Za-z0-9]{1,64}")
#: A batch in one of these is stopped before it is removed.
_AT_WORK = frozenset({"Waiting", "Starting", "Syncing", "IncrementalSyncing", "Completing"})
#: After so long a batch's file has been read: rows the service does not count then, it has merged or left out.
READ_WITHIN = timedelta(minutes=30)
#: What a cutover batch cannot stand beside (C-28).
_BESIDE_NONE = frozenset({"exchangeoutlookanywhere", "imap"})
ANOTHER_NAME = "give the batch another name, or remove the one that is there"


@dataclass(frozen=True, kw_only=True)
class MigrationBatch(Module):
    """Keep a batch created, started, or absent (B-27 to B-31, B-46, C-14).

    With `csv` the batch is a staged one, of the addresses in the file; without, a cutover of every mailbox. Started
    is judged by the batch's status; a staged one that stands still after everybody in it was copied has done its work,
    for the service copies nobody of it twice. A removed batch takes its history with it: export it first
    (batch_history).
    """

    name: Annotated[str, "Name of the batch: letters, digits, - and _ (B-28)."]
    endpoint: Annotated[str, "Name of the migration endpoint."]
    csv: Annotated[str, "The staged batch's CSV file; none for a cutover."] = ""
    state: Annotated[Literal["created", "started", "absent"], "How it must be."] = "started"
    strict_name: Annotated[bool, "The name has letters and digits only: the narrowest reading of the page (B-28)."] = (
        False)

    family: ClassVar[str] = "batch"
    public: ClassVar[frozenset[str]] = frozenset({
        "copied", "count", "endpoint", "last_synced", "members", "message", "read_whole", "state", "status"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "create"
    undo: ClassVar[Undo] = "compensate"
    # Removing takes "some minutes" ("Manage migration batches"); so may reading a long CSV.
    settles_within: ClassVar[timedelta] = timedelta(minutes=30)
    look_again: ClassVar[timedelta] = timedelta(minutes=5)
    rights: ClassVar[tuple[str, ...]] = ("Migration",)
    by_person: ClassVar[tuple[str, ...]] = (
        "Exchange admin centre > Migration > Batch > Add migration batch; cutover: type, endpoint, name, start; "
        "staged: type, CSV file, endpoint, name, start. Start manually is `created`, automatically is `started`. Then "
        "Start, Stop or Delete above the list.",
        "New-MigrationBatch, Start-MigrationBatch, Stop-MigrationBatch, Remove-MigrationBatch, always with -Identity.")

    def key(self) -> str:
        return f"batch/{self.name}"

    def problems(self) -> Iterator[str]:
        form, signs = (_STRICT_NAME, "letters and digits") if self.strict_name else (_NAME, "letters, digits, - and _")
        if not form.fullmatch(self.name):
            yield (f'name: {signs} only, beginning with a letter or digit, at most 64; write "{valid_name(self.name)}" '
                   "(B-28; New-MigrationBatch)")
        if not self.endpoint.strip():
            yield "endpoint: a batch needs an endpoint (B-27)"

    def want(self) -> Want | None:
        """Raises Invalid when the CSV file cannot be used."""
        if self.state == "absent":
            return None
        want: dict[str, Any] = {"state": AtLeast(self.state, BATCH_LADDER), "endpoint": self.endpoint}
        if self.state == "created" and self.csv:
            want["members"] = digest(self._addresses())
        return want

    def read(self, site: Site) -> State | None:
        found = by_name(site.exchange_online.migration_batches(), self.name)
        if found is None:
            return None
        users = [user for user in site.exchange_online.migration_users().values() if user.batch == found.name]
        # Until the service shows every user it has read from the file, nobody can say who they are.
        members = digest(user.address for user in users) if users and len(users) == found.count else None
        created = moment(found.raw.get("CreationDateTimeUTC") or found.raw.get("CreationDateTime"))
        return {"state": found.state, "status": found.status, "members": members, "count": found.count,
                # names are one regardless of case
                "endpoint": self.endpoint if found.endpoint.lower() == self.endpoint.lower() else found.endpoint,
                "last_synced": found.last_synced, "message": found.error or commonest(users)[0],
                "copied": members is not None and all(user.last_success is not None for user in users),
                "read_whole": created is None or site.world.clock.now() - created >= READ_WITHIN}

    def difference(self, state: State | None) -> Diff | None:
        diff = super().difference(state)
        if diff is None or state is None:
            return diff
        if self.state == "started" and self.csv and state.get("status") == "Stopped" and state.get("copied"):
            left = tuple(change for change in diff.changes if change.field != "state")  # S-34, 60 days after its start
            return Diff(diff.verb, left, state) if left else None
        if self.state != "created" or state.get("members") is not None:
            return diff
        # A batch that was never started may not list its users yet; their number must do.
        left = tuple(change for change in diff.changes
                     if change.field != "members" or state.get("count") != len(self._addresses()))
        return Diff(diff.verb, left, state) if left else None

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return None
        status, message = str(state["status"]), str(state.get("message") or "")
        if status in ("Removing", "Stopping"):
            return Waiting(f"the batch is {status.lower()}")
        if self.state == "absent":
            return None
        if status == "Corrupted":
            return Failing("the service says the batch is corrupted", "remove it and create it anew")
        if status == "Failed":
            known = classify(message)
            return Failing(f"the batch failed: {message or 'no reason given'} ({known})", known.remedy,
                           retry=known.action == "retry")
        return self._another(state, {change.field for change in diff.changes})

    def _another(self, state: State, changed: set[str]) -> Outlook | None:
        """Whether the batch of this name is another one than the playbook's (B-27, S-23)."""
        if "endpoint" in changed:
            return Failing(f"a batch {self.name} is there already, and goes through the endpoint {state['endpoint']}, "
                           f"not {self.endpoint} (B-27)", ANOTHER_NAME)
        if "members" not in changed:
            return None
        asked, counted = len(self._addresses()), int(str(state["count"]))
        if state.get("members") is None and counted < asked and not state.get("read_whole"):
            return Waiting(f"the service has read {counted} of {asked} rows")
        if counted == asked:
            return Failing(f"a batch {self.name} is there already, of {counted} other mailboxes than those of "
                           f"{Path(self.csv).name}", ANOTHER_NAME)
        return Failing(f"the service counts {counted} mailboxes in {self.name}, and {Path(self.csv).name} has {asked} "
                       "(S-23)", "remove the batch, look for rows that it merges or does not know, and run again")

    def apply(self, site: Site, diff: Diff) -> None:
        exchange = site.exchange_online
        if self.state == "absent":
            self._remove(site, str((diff.before or {}).get("status") or ""))
            return
        if diff.before is None:
            more: dict[str, Any] = {"CSVData": byte_array(_file(self.csv)[0])} if self.csv else {}
            if self.state == "started":
                more["AutoStart"] = True
            if self.csv:
                self._nobody_converted(site)
            else:
                self._alone(site)
            exchange.invoke("New-MigrationBatch", Name=self.name, SourceEndpoint=self.endpoint, **more)
            return
        changed = {change.field for change in diff.changes}
        if changed & {"endpoint", "members"}:
            raise Rejected("exchange_online", f"a batch {self.name} exists with other {' and '.join(sorted(changed))}",
                           remedy=ANOTHER_NAME)
        try:
            exchange.invoke("Start-MigrationBatch", Identity=self.name)
        except Rejected:
            # Started by somebody else since it was read: the service answers with an error, and it is as wanted.
            site.forget()
            found = by_name(exchange.migration_batches(), self.name)
            if found is None or found.status not in ("Starting", "Syncing", "IncrementalSyncing"):
                raise

    def _nobody_converted(self, site: Site) -> None:
        """S-34: what is converted has no mailbox left to copy. Raises Rejected, naming who is.

        The service removes a batch that has stood still for 90 days; nobody may be led to make it again.
        """
        source = site.directory.mailboxes()
        gone = [each for each in self._addresses() if each in source and not source[each].is_mailbox]
        if gone:
            more = f" and {len(gone) - 1} more of its list are" if gone[1:] else " of its list is"
            raise Rejected(
                "exchange_online", f"there is no batch {self.name}, and {gone[0]}{more} converted already: made again, "
                "it would fail (S-34)", remedy="if the service has removed it after its work, waive this task for the "
                "batch; else take who is converted out of its list")

    def _alone(self, site: Site) -> None:
        """C-28: only one cutover batch can exist, and no IMAP batch beside it. Raises Rejected, naming the other."""
        site.forget()
        for name, found in site.exchange_online.migration_batches().items():
            kind = str(found.raw.get("MigrationType") or "").replace(" ", "").lower()
            if name.lower() != self.name.lower() and kind in _BESIDE_NONE:
                raise Rejected("exchange_online", f"the batch {name} ({found.status}) is in the tenant: only one "
                               "cutover batch can exist at a time, and none beside an IMAP batch (C-28)",
                               remedy=f"remove {name} when it is done with, or take it up by its name")

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """A batch we started is stopped, one we created is removed."""
        return None if before is None else {"state": before["state"]}

    def restore_diff(self, before: State | None, state: State | None) -> Diff | None:
        diff = super().restore_diff(before, state)
        if diff is None and state is not None and state["status"] == "Stopping":
            return Diff("change", (Change("status", "Stopping", "Stopped"),), state)
        return diff

    def restore(self, site: Site, diff: Diff, before: State | None) -> None:
        status = str((diff.before or {}).get("status") or "")
        if before is None:
            self._remove(site, status)
        elif status not in ("Stopping", "Stopped"):
            site.exchange_online.invoke("Stop-MigrationBatch", Identity=self.name)

    def changed_since(self, before: State | None, left: State | None, state: State | None) -> tuple[Change, ...]:
        """Who is in it may not have been known yet when it was left."""
        return tuple(each for each in super().changed_since(before, left, state)
                     if not (each.field == "members" and None in (each.before, each.after)))

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        """B-29, B-30: only while nothing would be lost by it."""
        if self.state == "absent":
            return "a removed batch does not come back, and its history is gone from the service (B-46, B-55)"
        if state is None:
            return ""
        copied = sum(user.state == "synced" or user.items > 0
                     for user in site.exchange_online.migration_users().values() if user.batch == self.name)
        if before is None and copied:
            return f"{copied} mailbox(es) have been copied: removing the batch would lose their history and syncs"
        if before is not None and state["status"] not in (*_AT_WORK, "Stopping", "Stopped"):
            return f"the batch is {state['status']}: there is no copy under way that could be stopped"
        return ""

    def loses(self, before: State | None, state: State | None) -> Sequence[str]:
        return ("users and mailboxes that the service has made in the cloud stay there",)

    def _remove(self, site: Site, status: str) -> None:
        if status == "Removing":
            return
        if status == "Stopping":
            raise Unreachable("exchange_online", f"the batch {self.name} is still being stopped", retry_after=60.0)
        if status in _AT_WORK:
            site.exchange_online.invoke("Stop-MigrationBatch", Identity=self.name)
            raise Unreachable("exchange_online", f"the batch {self.name} is being stopped, and removed after that",
                              retry_after=60.0)
        if outdated(site, self.name):  # a synchronisation has come between the export and this moment
            export(site, self.name)
        site.exchange_online.invoke("Remove-MigrationBatch", Identity=self.name)

    def _addresses(self) -> tuple[str, ...]:
        return _file(self.csv)[1]


def valid_name(text: str) -> str:
    """A batch name near the text that both readings of the page allow: "Büro/Nord 1" → "BueroNord1"."""
    written = text.translate(_WRITTEN_OUT)
    plain = unicodedata.normalize("NFKD", written).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]", "", plain)[:64] or "Batch01"


#: Letters that German and the Nordic languages write out where there is no sign for them.
_WRITTEN_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "å": "aa",
                              "Å": "Aa", "ø": "oe", "Ø": "Oe", "æ": "ae", "Æ": "Ae"})


def commonest(users: Sequence[MigrationUser]) -> tuple[str, int]:
    """The text with which most of the failed users failed, and how many did; ("", 0) where none has."""
    texts = Counter(user.error for user in users if user.state == "failed")
    return texts.most_common(1)[0] if texts else ("", 0)


def digest(addresses: Iterable[str]) -> str:
    """One short text for a set of addresses, whatever their order."""
    members = sorted(set(addresses))
    noun = "mailbox" if len(members) == 1 else "mailboxes"
    return f"{len(members)} {noun}, {blake2b(chr(10).join(members).encode(), digest_size=8).hexdigest()}"


def _file(path: str) -> tuple[bytes, tuple[str, ...]]:
    """The file's bytes, exactly as checked, and its addresses."""
    found = Path(path).stat() if Path(path).exists() else None
    return _checked(path, found.st_mtime_ns if found else 0)


@lru_cache(maxsize=256)
def _checked(path: str, changed_ns: int) -> tuple[bytes, tuple[str, ...]]:
    data = content(Path(path), path)
    return data, parse(data, path).addresses
