"""cloud_recipient: waits until an address exists in Exchange Online."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.connections.migration_objects import RECIPIENT_LADDER
from engine.contract import AtLeast, Diff, Outlook, State, Waiting, Want
from engine.modules.base import Effect, Module, Undo


@dataclass(frozen=True, kw_only=True)
class CloudRecipient(Module):
    """Look until the recipient is there: made by directory synchronisation, or by the batch. Writes nothing.

    The address must be its primary one (B-34). Its state gives the conversion what it needs: `routing_address`,
    `addresses`, `guid` (ExchangeGuid), `legacy_dn`.
    """

    address: Annotated[str, "Primary address."]
    at_least: Annotated[Literal["recipient", "mail_user", "mailbox"], "What it must be, or more."] = "mail_user"

    family: ClassVar[str] = "recipient"
    public: ClassVar[frozenset[str]] = frozenset({
        "address", "addresses", "guid", "legacy_dn", "primary", "routing_address", "type"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "observe"
    undo: ClassVar[Undo] = "none"
    look_again: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("View-Only Recipients",)
    decided: ClassVar[frozenset[str]] = frozenset({"routing_address", "guid", "legacy_dn", "addresses"})

    def key(self) -> str:
        return f"recipient/{self.address.lower()}"

    def want(self) -> Want:
        return {"type": AtLeast(self.at_least, RECIPIENT_LADDER), "primary": True}

    def read(self, site: Site) -> State | None:
        found = site.exchange_online.recipients().get(self.address.lower())
        if found is None:
            return None
        return {"type": found.type, "address": found.address, "primary": found.address == self.address.lower(),
                "routing_address": found.routing_address, "guid": found.guid,
                "legacy_dn": found.legacy_dn, "addresses": found.proxies}

    def outlook(self, state: State | None, diff: Diff) -> Outlook:
        word = self.at_least.replace("_", " ")
        if state is None:
            return Waiting(f"Exchange Online has no recipient {self.address} yet; waits for a {word}")
        if not state["primary"]:
            return Waiting(f"{self.address} is only a further address of {state['address']} in the cloud; waits until "
                           "it is the primary one: is the domain verified, and the address primary at the source?")
        return Waiting(f"{self.address} is a {str(state['type']).replace('_', ' ')} yet; waits for a {word}")
