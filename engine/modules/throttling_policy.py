"""throttling_policy: the source does not slow the migration account down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.connections.directory_checks import throttling_policy
from engine.contract import Diff, Failing, Handover, Outlook, State, Want
from engine.modules._powershell import Call, Word, carried_out, script
from engine.modules.base import Effect, Module, Reads, Undo

NAME = "Migration"
#: What slows a copy through Outlook Anywhere down; the release decides how "no limit" is written.
_LIMITS = {"2010": ("RCAMaxConcurrency", "RCAPercentTimeInAD", "RCAPercentTimeInCAS", "RCAPercentTimeInMailboxRPC"),
           "2013": ("RCAMaxConcurrency", "RcaMaxBurst", "RcaRechargeRate", "RcaCutoffBalance")}


@dataclass(frozen=True, kw_only=True)
class ThrottlingPolicy(Module):
    """The migration account has a throttling policy of its own, which does not limit Outlook Anywhere (S-41).

    Exchange 2010 and 2013 limit what one account may ask at a time; 2003 and 2007 do not. What firewalls limit cannot
    be seen from here and is an item of the first checklist. The handed-over lines say which limits the policy lifts.
    """

    account: Annotated[str, "The migration administrator, DOMAIN\\user or its user principal name."]
    exchange: Annotated[Literal["2010", "2013"], "Release of the source."]

    family: ClassVar[str] = "throttling_policy"
    public: ClassVar[frozenset[str]] = frozenset({"own", "policy"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "compensate"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=1)

    def key(self) -> str:
        return f"throttling_policy/{self.account.lower()}"

    def problems(self) -> Iterator[str]:
        if "\\" not in self.account and "@" not in self.account:
            yield "account: written DOMAIN\\user or user@domain (B-20)"

    def want(self) -> Want:
        return {"own": True}

    def read(self, site: Site) -> State | None:
        found = throttling_policy(site, self.account)
        return None if found is None else {"own": bool(found), "policy": found}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"the directory has no account {self.account}",
                           "correct source_account: DOMAIN\\user, or its user principal name")
        return None

    def by_hand(self, site: Site) -> bool:
        return True

    def apply(self, site: Site, diff: Diff) -> Handover:
        # Exchange 2010 writes "no limit" as nothing, 2013 as a word.
        limit = None if self.exchange == "2010" else Word("Unlimited")
        return Handover("powershell", f"Lift the source's limits for {self.account}", script(
            Call("New-ThrottlingPolicy", {"Name": NAME, **dict.fromkeys(_LIMITS[self.exchange], limit)}).line(),
            self._associated(NAME).line()))

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        return carried_out(site, f"Give {self.account} the default limits again", [self._associated(None)])

    def _associated(self, policy: str | None) -> Call:
        return Call("Set-ThrottlingPolicyAssociation", {"Identity": self.account, "ThrottlingPolicy": policy})
