"""licence_active: the mailbox plan of a licence is at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, Failing, Fault, Outlook, State, Unknown, Waiting, Want
from engine.modules.base import Effect, Module, Reading, Reads


@dataclass(frozen=True, kw_only=True)
class LicenceActive(Module):
    """Wait until Exchange reports the user's mailbox plan as `Success` (B-47): assigned is not yet active.

    Read from licenseDetails, 20 users a call, until it was seen once. An empty `sku` asks for nothing.
    """

    address: Annotated[str, "Primary address of the user."]
    sku: Annotated[str, "The product, as in `licence`; empty: no licence is needed."] = ""

    family: ClassVar[str] = "licence_active"
    public: ClassVar[frozenset[str]] = frozenset({"active", "mailbox_plan"})
    connection: ClassVar[str] = "graph"
    effect: ClassVar[Effect] = "observe"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("LicenseAssignment.Read.All",)

    def key(self) -> str:
        return f"licence_active/{self.address.lower()}"

    def want(self) -> Want:
        return {"mailbox_plan": "Success"} if self.sku else {}

    def outlook(self, state: State | None, diff: Diff) -> Outlook:
        plan = str((state or {}).get("mailbox_plan") or "")
        if state is None:
            return Waiting(f"the tenant has no user {self.address} yet")
        if plan == "Disabled":
            return Failing(f"the licence of {self.address} has its mailbox plan switched off",
                           "switch the Exchange Online plan of the licence on, or assign another product")
        if plan == "Error":
            return Failing(f"the mailbox plan of {self.address} could not be provisioned",
                           "look at the user's licence in the Microsoft 365 admin centre")
        return Waiting(f"the mailbox plan of {self.address} is {plan or 'not assigned'}")

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        ours = [module for module in modules if isinstance(module, LicenceActive)]
        found: dict[str, Reading] = {}
        users = site.graph.users() if any(module.sku for module in ours) else {}
        asked = []
        for module in ours:
            user = users.get(module.address.lower())
            if not module.sku:
                found[module.key()] = {"mailbox_plan": ""}
            elif user is None:
                found[module.key()] = None
            else:
                asked.append((module.key(), user.id))
        plans = site.graph.mailbox_plans([user for _, user in asked])
        for (key, _), plan in zip(asked, plans, strict=True):
            found[key] = Unknown.of(plan) if isinstance(plan, Fault) else {"mailbox_plan": plan}
        return found
