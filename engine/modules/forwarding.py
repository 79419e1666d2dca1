"""forwarding: new mail of a source mailbox goes on to the cloud."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.connections.directory_objects import Modification, SourceRecipient, target
from engine.contract import Diff, Fault, State, Want
from engine.modules._recipient import OnRecipient
from engine.modules.base import Effect, Undo


@dataclass(frozen=True, kw_only=True)
class Forwarding(OnRecipient):
    """The recipient's targetAddress is the cloud mailbox's routing address (S-30).

    The migration service sets it when a staged copy starts; where it has, there is nothing to do. Its state names the
    directory object (objectGUID), by which a conversion finds it again.
    """

    address: Annotated[str, "Primary address of the source mailbox."]
    target_address: Annotated[str, "Where mail goes on to, as in anna@contoso.onmicrosoft.com."]

    family: ClassVar[str] = "forwarding"
    public: ClassVar[frozenset[str]] = frozenset({"dn", "target_address", "object"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    #: the conversion owns the target once it has begun; half-way the object may not even have an address
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("WriteProperty on targetAddress",)

    def key(self) -> str:
        return f"forwarding/{self.address.lower()}"

    def problems(self) -> Iterator[str]:
        if "@" not in self.target_address:
            yield "target_address: an SMTP address"
        elif (target(self.target_address) or "").removeprefix("SMTP:") == self.address.lower():
            yield "target_address: mail would go round in a circle"

    def want(self) -> Want:
        return {"target_address": target(self.target_address)}

    @classmethod
    def state(cls, found: SourceRecipient) -> State:
        return {"target_address": found.target_address, "dn": found.dn, "object": found.guid}

    def remark(self, state: State | None) -> str:
        """S-26: the batch sets it at its start, where the endpoint's account may (S-04)."""
        if state is None or state.get("target_address") is not None or not self.target_address:
            return ""
        return ("the batch has not set targetAddress: new mail stays at the source; its account lacks WriteProperty "
                "on it (S-04)")

    def apply(self, site: Site, diff: Diff) -> None:
        assert diff.before is not None
        _set(site, diff.before, target(self.target_address))

    def restore(self, site: Site, diff: Diff, before: State | None) -> None:
        assert diff.before is not None and before is not None
        then = before["target_address"]
        _set(site, diff.before, None if then is None else str(then))

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        """A converted mail user without a target could not be reached at all."""
        found = site.directory.find([self.address.lower()]).get(self.address.lower())
        if isinstance(found, Fault):
            raise found
        if found is not None and not found.is_mailbox and (before or {}).get("target_address") is None:
            return "it is a mail user, whom nobody could reach without a target: take back the conversion first"
        return ""

    def loses(self, before: State | None, state: State | None) -> Sequence[str]:
        return ("mail that was forwarded meanwhile stays in the cloud",)


def _set(site: Site, now: State, wanted: str | None) -> None:
    """Deleting the very value that was read makes it a compare-and-set; "add" fails where one has appeared."""
    changes = []
    if now["target_address"] is not None:
        changes.append(Modification("delete", "targetAddress", (str(now["target_address"]).encode(),)))
    if wanted is not None:
        changes.append(Modification("add", "targetAddress", (wanted.encode(),)))
    site.directory.modify(str(now["dn"]), changes)
