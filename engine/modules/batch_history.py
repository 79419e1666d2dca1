"""batch_history: everything the service knows of a batch, kept before the batch is removed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.migration_objects import MigrationBatch, MigrationUser, moment
from engine.connections.service_errors import classify
from engine.contract import Diff, Fault, Rejected, State, Want
from engine.modules.base import Effect, Module, Undo
from engine.world import write_whole

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: A cell that begins so is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_COLUMNS = ("address", "status", "items", "skipped", "last_success", "error", "kind", "cause")


@dataclass(frozen=True, kw_only=True)
class BatchHistory(Module):
    """Export the batch, its users and their statistics as JSON and CSV (B-55): removing a batch deletes them.

    Done while the export is newer than the batch's last change. The files lie in the migration's exports folder.
    """

    batch: Annotated[str, "Name of the batch."]

    family: ClassVar[str] = "history"
    public: ClassVar[frozenset[str]] = frozenset({"current", "exported_at", "sha256", "users"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    lasting: ClassVar[bool] = True
    rights: ClassVar[tuple[str, ...]] = ("Migration",)

    def key(self) -> str:
        return f"history/{self.batch}"

    def problems(self) -> Iterator[str]:
        if not _NAME.fullmatch(self.batch):
            yield "batch: letters, digits, - and _ only, at most 64 (B-28)"

    def want(self) -> Want:
        return {"current": True}

    def read(self, site: Site) -> State | None:
        path = self._path(site, ".json")
        if not path.exists():
            return None
        data = path.read_bytes()
        try:
            kept = json.loads(data)
            exported_at, users = moment(kept["exported_at"]), len(kept["users"])
        except (ValueError, KeyError, TypeError):
            raise Rejected("exchange_online", f"{path.name} is no export of mailmove", remedy="move it away") from None
        batch = site.exchange_online.migration_batches().get(self.batch)
        changed = _last_change(batch, _users(site, self.batch)) if batch else None
        return {"exported_at": exported_at, "sha256": sha256(data).hexdigest(), "users": users,
                "current": exported_at is not None and (changed is None or exported_at >= changed)}

    def apply(self, site: Site, diff: Diff) -> None:
        export(site, self.batch)

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """The export stays: it is what is left of the batch."""
        return {} if state is not None else None

    def _path(self, site: Site, suffix: str) -> Path:
        return _path(site, self.batch, suffix)


def export(site: Site, name: str) -> None:
    """Write what the service knows of the batch now. Raises Fault; Rejected when it has no such batch."""
    site.forget()  # what is kept for ever is read anew
    batch = site.exchange_online.migration_batches().get(name)
    if batch is None:
        raise Rejected("exchange_online", f"there is no batch {name}: its history cannot be exported",
                       remedy="waive the task with the reason, or give the batch's name as it is")
    users = sorted(_users(site, name), key=lambda user: user.address)
    statistics = site.exchange_online.user_statistics([user.identity for user in users], report=True)
    for answer in statistics:
        if isinstance(answer, Fault):
            raise answer
    whole = {"exported_at": site.world.clock.now().isoformat(), "batch": batch.raw,
             "users": [user.raw for user in users], "statistics": list(statistics)}
    _path(site, name, ".json").parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(_path(site, name, ".csv"), _table(users))
    write_whole(_path(site, name, ".json"),
                json.dumps(whole, ensure_ascii=False, indent=1, sort_keys=True, default=str).encode())


def outdated(site: Site, name: str) -> bool:
    """Whether an export is there that a later synchronisation is not in."""
    state = BatchHistory(batch=name).read(site)
    return state is not None and state["current"] is False


def _path(site: Site, name: str, suffix: str) -> Path:
    if not _NAME.fullmatch(name):  # a name from data never leaves its folder
        raise Rejected("exchange_online", "the batch's name cannot be a file's name (B-28)")
    return Path(str(site.settings["exports"])) / f"batch-{name}{suffix}"


def _users(site: Site, name: str) -> list[MigrationUser]:
    return [user for user in site.exchange_online.migration_users().values() if user.batch == name]


def _last_change(batch: MigrationBatch, users: Iterable[MigrationUser]) -> datetime | None:
    return max(filter(None, (batch.last_synced, *(user.last_success for user in users))), default=None)


def _table(users: Iterable[MigrationUser]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(_COLUMNS)
    for user in users:
        rows.writerow([_cell(value) for value in (
            user.address, user.status, user.items, user.skipped, user.last_success or "", user.error,
            classify(user.error).id if user.error else "", classify(user.error).cause if user.error else "")])
    return b"\xef\xbb\xbf" + text.getvalue().encode()  # the mark, for spreadsheets


def _cell(value: Any) -> str:
    text = str(value)
    return "'" + text if text.startswith(_FORMULA) else text
