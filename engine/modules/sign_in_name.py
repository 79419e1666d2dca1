"""sign_in_name: a user signs in with the primary address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.contract import Diff, Failing, Handover, Outlook, State, Waiting, Want
from engine.modules.base import Effect, Module, Undo


@dataclass(frozen=True, kw_only=True)
class SignInName(Module):
    """Compare the sign-in name (userPrincipalName) of a new user with the primary address, and correct it (C-29).

    Where an address was not usable when the user was made, the service chose a name below onmicrosoft.com. Changing
    it signs the person out everywhere, so the line is handed to a person unless `change: graph` is written; then the
    plan's consent, which lists every such change, is the decision.
    """

    address: Annotated[str, "Primary address, which is also the name wanted."]
    change: Annotated[Literal["by_hand", "graph"], "Who changes a name that differs."] = "by_hand"

    family: ClassVar[str] = "sign_in_name"
    public: ClassVar[frozenset[str]] = frozenset({"synced", "upn", "id"})
    connection: ClassVar[str] = "graph"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    settles_within: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("User.ReadWrite.All",)

    def key(self) -> str:
        return f"sign_in_name/{self.address.lower()}"

    def want(self) -> Want:
        return {"upn": self.address.lower()}

    def read(self, site: Site) -> State | None:
        user = site.graph.users().get(self.address.lower())
        return None if user is None else {"upn": user.upn, "id": user.id, "synced": user.synced}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Waiting(f"the tenant has no user {self.address} yet")
        if state["synced"]:
            return Failing(f"{self.address} signs in as {state['upn']}, which directory synchronisation decides",
                           "set userPrincipalName in Active Directory; it arrives with the next synchronisation")
        return None

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        assert diff.before is not None
        return self._rename(site, diff.before, self.address.lower())

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        """The saved name again, by the same hands."""
        assert diff.before is not None and before is not None
        return self._rename(site, diff.before, str(before["upn"]))

    def _rename(self, site: Site, now: State, upn: str) -> Handover | None:
        if self.change == "graph":
            site.graph.rename_user(str(now["id"]), upn)
            return None
        return Handover("powershell", f"{self.address} signs in as {now['upn']}", "\n".join([
            "Connect-MgGraph -Scopes User.ReadWrite.All",
            f"Update-MgUser -UserId '{now['upn']}' -UserPrincipalName '{upn}'"]))

    def by_hand(self, site: Site) -> bool:
        return self.change == "by_hand"

    def handover_group(self) -> str:
        return "sign-in names"
