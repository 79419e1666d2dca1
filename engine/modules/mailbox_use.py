"""mailbox_use: the person of a mailbox works in the cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.connections.source_records import has_shell, last_logon
from engine.contract import Denied, Diff, Fault, Outlook, State, Unknown, Waiting, Want
from engine.modules import _letter
from engine.modules.base import Effect, Module, Reading, Reads


@dataclass(frozen=True, kw_only=True)
class MailboxUse(Module):
    """Wait until the cloud mailbox was used by its own person (B-44): a batch is not removed before.

    Read from LastUserActionTime (Get-EXOMailboxStatistics), and where that cannot be read from the last sign-in (Graph
    signInActivity: AuditLog.Read.All, Entra ID P1). Where the source has a shell of its own (`source_shell`), the old
    mailbox must not have been opened since either; the migration account's own logons do not count. Shared mailboxes,
    rooms and equipment never act: let `when` skip them. A service account that never signs in is waived with reason.
    """

    address: Annotated[str, "Primary address."]
    since: Annotated[str, "Moment with its zone; what was done before it does not count. Empty: any use counts."] = ""
    source_account: Annotated[str, "Migration account of the source, DOMAIN\\user, which opens mailboxes too."] = ""

    family: ClassVar[str] = "use"
    public: ClassVar[frozenset[str]] = frozenset({
        "last_sign_in", "last_used", "source_opened", "source_opened_by", "used"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "observe"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(hours=4)
    rights: ClassVar[tuple[str, ...]] = ("View-Only Recipients", "AuditLog.Read.All")

    def key(self) -> str:
        return f"use/{self.address.lower()}"

    def problems(self) -> Iterator[str]:
        if self.since and _letter.moment(self.since) is None:
            yield "since: a moment with its zone, as in 2026-11-20T18:00:00+01:00"

    def want(self) -> Want:
        return {"used": True}

    def outlook(self, state: State | None, diff: Diff) -> Outlook:
        found = state or {}
        if isinstance(opened := found.get("source_opened"), datetime):
            return Waiting(f"{self.address} was still opened at the source {opened:%Y-%m-%d %H:%M} UTC, by "
                           f"{found.get('source_opened_by') or 'nobody named'}")
        last = found.get("last_used") or found.get("last_sign_in")
        when = f"{last:%Y-%m-%d %H:%M} UTC" if isinstance(last, datetime) else "never"
        return Waiting(f"{self.address} does not use the cloud mailbox yet; last use: {when}")

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        ours = [module for module in modules if isinstance(module, MailboxUse)]
        actions = site.exchange_online.last_actions([module.address.lower() for module in ours])
        return {module.key(): module._judged(site, action) for module, action in zip(ours, actions, strict=True)}

    def _judged(self, site: Site, action: datetime | Fault | None) -> State | Unknown:
        sign_in = None
        if isinstance(action, Fault):
            user = site.graph.users().get(self.address.lower())
            try:
                sign_in = site.graph.sign_ins().get(user.id) if user is not None else None
            except Denied:
                return Unknown.of(action)
            if sign_in is None:
                return Unknown.of(action)
        used = action if isinstance(action, datetime) else sign_in
        since = _letter.moment(self.since) if self.since else None
        state: dict[str, bool | datetime | str | None] = {
            "used": used is not None and (since is None or used >= since),
            "last_used": action if isinstance(action, datetime) else None, "last_sign_in": sign_in}
        if not state["used"] or since is None or not has_shell(site):
            return state
        try:
            logon = last_logon(site, self.address.lower())
        except Fault as fault:
            return Unknown.of(fault)
        if logon is not None and logon.at > since and not self._migration(logon.by):
            state |= {"used": False, "source_opened": logon.at, "source_opened_by": logon.by}
        return state

    def _migration(self, account: str) -> bool:
        """By the account's own name: the shell writes DOMAIN\\user, the inventory perhaps user@domain."""
        own = self.source_account.lower().rpartition("\\")[2].partition("@")[0]
        return bool(own) and account.rpartition("\\")[2] == own

