"""accepted_domain: waits until Exchange Online accepts mail for a verified domain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, Outlook, State, Waiting, Want
from engine.modules.base import Effect, Module, Undo


@dataclass(frozen=True, kw_only=True)
class AcceptedDomain(Module):
    """Look until a domain verified in the tenant has become an accepted domain of Exchange Online. Writes nothing.

    Takes minutes, at times hours, after the verification; until then no address in it can be given to anything
    (Microsoft Graph → Exchange Online; requirement B-11).
    """

    domain: Annotated[str, "The mail domain."]

    family: ClassVar[str] = "accepted_domain"
    public: ClassVar[frozenset[str]] = frozenset({"accepted"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "observe"
    undo: ClassVar[Undo] = "none"
    look_again: ClassVar[timedelta] = timedelta(minutes=5)
    rights: ClassVar[tuple[str, ...]] = ("View-Only Configuration",)

    def key(self) -> str:
        return f"accepted_domain/{self.domain.lower()}"

    def want(self) -> Want:
        return {"accepted": True}

    def read(self, site: Site) -> State | None:
        return {"accepted": True} if self.domain.lower() in site.exchange_online.accepted_domains() else None

    def outlook(self, state: State | None, diff: Diff) -> Outlook:
        return Waiting(f"Exchange Online does not accept mail for {self.domain} yet")
