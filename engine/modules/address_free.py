"""address_free: nobody in the cloud holds the addresses of a mailbox that a cutover will make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, Failing, Handover, Outlook, State, Want
from engine.modules.base import Effect, Module, Undo


@dataclass(frozen=True, kw_only=True)
class AddressFree(Module):
    """Look whether a cloud user, group or contact, or a deleted user, has one of the addresses (C-06).

    A cutover makes every mailbox a new user; where somebody has an address already, the service refuses the mailbox
    (E21). A deleted user holds its addresses for 30 days: the lines that purge it are handed to a person. Anybody else
    is for a person to decide on: the row fails and names them. Those whom this migration has made are its own.
    """

    address: Annotated[str, "Primary address of the source mailbox."]
    aliases: Annotated[tuple[str, ...], "Its other addresses."] = ()

    family: ClassVar[str] = "address_free"
    public: ClassVar[frozenset[str]] = frozenset({"deleted", "held_by"})
    connection: ClassVar[str] = "graph"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=1)
    rights: ClassVar[tuple[str, ...]] = ("User.Read.All", "View-Only Recipients")

    def key(self) -> str:
        return f"address_free/{self.address.lower()}"

    def problems(self) -> Iterator[str]:
        if "@" not in self.address:
            yield "address: one address, as in anna@contoso.com"

    def want(self) -> Want:
        return {"held_by": (), "deleted": ()}

    def read(self, site: Site) -> State | None:
        ours = {self.address.lower(), *(each.lower() for each in self.aliases)}
        if ours & site.exchange_online.migration_users().keys():
            return {"held_by": (), "deleted": ()}
        users, recipients = site.graph.users(), site.exchange_online.recipients()
        holders = {f"{address}: user {users[address].upn}" for address in ours if address in users}
        holders |= {f"{address}: {recipients[address].details} {recipients[address].address}" for address in ours
                    if address in recipients and address not in users}
        deleted = site.graph.deleted_users()
        return {"held_by": tuple(sorted(holders)),
                "deleted": tuple(sorted({deleted[address] for address in ours if address in deleted}))}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        holders = (state or {}).get("held_by")
        if not isinstance(holders, tuple) or not holders:
            return None
        return Failing(f"somebody in the cloud has it already: {'; '.join(map(str, holders))}",
                       "give that object another address, or delete and purge it when nobody needs it; the service "
                       "makes a new user and refuses an address that is taken (E21)")

    def apply(self, site: Site, diff: Diff) -> Handover:
        deleted = (diff.before or {}).get("deleted")
        lines = [f"Remove-MgDirectoryDeletedItem -DirectoryObjectId '{each}'"
                 for each in (deleted if isinstance(deleted, tuple) else ())]
        return Handover("powershell", f"purge the deleted user that holds {self.address}", "\n".join([
            f"# A deleted user still holds {self.address}. A purge cannot be taken back.",
            "Connect-MgGraph -Scopes User.DeleteRestore.All", *lines]))

    def by_hand(self, site: Site) -> bool:
        return True

    def handover_group(self) -> str:
        return "purge deleted users"
