"""out_of_office: an out-of-office text comes along, which no migration copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.ews import AutomaticReply
from engine.contract import Diff, State, Want
from engine.modules.base import Effect, Module, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class OutOfOffice(Module):
    """Where a user has an out-of-office text at the source, the cloud mailbox has the same (S-40).

    A copy leaves the flag on and the text empty. Who has one is in `active`; the texts themselves are read, written and
    compared, and never recorded. It must run while the source mailbox is there, before its conversion. Exchange 2003
    has no service that tells.
    """

    address: Annotated[str, "Primary address of the mailbox."]

    family: ClassVar[str] = "out_of_office"
    public: ClassVar[frozenset[str]] = frozenset({"active", "came_along", "until"})
    connection: ClassVar[str] = "ews"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    rights: ClassVar[tuple[str, ...]] = ("Full Access to the mailbox", "Mail Recipients")

    def key(self) -> str:
        return f"out_of_office/{self.address.lower()}"

    def want(self) -> Want:
        return {"came_along": True}

    def read(self, site: Site) -> State:
        source = site.ews.automatic_reply(self.address)
        if source.state == "Disabled":
            return {"active": False, "came_along": True}
        return {"active": True, "until": source.end, "came_along": self._there(site) == _words(source)}

    def apply(self, site: Site, diff: Diff) -> None:
        source = site.ews.automatic_reply(self.address)
        times = {name: at.isoformat() for name, at in (("StartTime", source.start), ("EndTime", source.end)) if at}
        site.exchange_online.invoke(
            "Set-MailboxAutoReplyConfiguration", Identity=self.address.lower(), AutoReplyState=source.state,
            InternalMessage=source.inside, ExternalMessage=source.outside, ExternalAudience="All", **times)

    def _there(self, site: Site) -> tuple[str, str, str]:
        found: Any = (site.exchange_online.invoke("Get-MailboxAutoReplyConfiguration", Identity=self.address.lower())
                      or [{}])[0]
        state, inside, outside = (str(found.get(name) or "") for name in (
            "AutoReplyState", "InternalMessage", "ExternalMessage"))
        return _words(AutomaticReply(state, inside, outside))


def _words(reply: AutomaticReply) -> tuple[str, str, str]:
    """What is compared: the service may write the same HTML with other white space."""
    return reply.state, " ".join(reply.inside.split()), " ".join(reply.outside.split())
