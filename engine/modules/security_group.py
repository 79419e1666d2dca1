"""security_group: a mail-enabled security group that stands before the copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, Failing, Outlook, Rejected, State, Want
from engine.modules.base import Effect, Module, Undo

_REMEDY = "remove or rename the group that is there, then run again: its type cannot be changed"


@dataclass(frozen=True, kw_only=True)
class SecurityGroup(Module):
    """Create a security group, so that a cutover fills it instead of making a plain distribution group (C-11).

    Only Exchange can make one: in Graph mail-enabled security groups are read-only. Its members come with the copy.
    """

    address: Annotated[str, "Primary address of the group."]
    name: Annotated[str, "Display name, at most 64 characters."]

    family: ClassVar[str] = "group"
    public: ClassVar[frozenset[str]] = frozenset({"members", "type"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "create"
    undo: ClassVar[Undo] = "compensate"
    rights: ClassVar[tuple[str, ...]] = ("Distribution Groups",)

    def key(self) -> str:
        return f"group/{self.address.lower()}"

    def problems(self) -> Iterator[str]:
        if not 1 <= len(self.name.strip()) <= 64:
            yield "name: 1 to 64 characters (New-DistributionGroup)"

    def want(self) -> Want:
        return {"type": "security"}

    def read(self, site: Site) -> State | None:
        found = site.exchange_online.groups().get(self.address.lower())
        return None if found is None else {"type": found.type}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        return None if state is None else Failing(self._other(), _REMEDY)

    def apply(self, site: Site, diff: Diff) -> None:
        if diff.before is not None:
            raise Rejected("exchange_online", self._other(), remedy=_REMEDY)
        site.exchange_online.invoke("New-DistributionGroup", Name=self.name.strip(), Type="Security",
                                    PrimarySmtpAddress=self.address.lower())

    def restore(self, site: Site, diff: Diff, before: State | None) -> None:
        site.exchange_online.invoke("Remove-DistributionGroup", Identity=self.address.lower())

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        """C-11: only while it is empty; its members came with the copy."""
        if state is None:
            return ""
        members = site.exchange_online.invoke("Get-DistributionGroupMember", Identity=self.address.lower(),
                                              ResultSize="Unlimited")
        return "" if not members else f"the group has {len(members)} member(s) by now"

    def _other(self) -> str:
        return (f"{self.address} is a distribution group, not a security group: somebody made it, or a cutover batch "
                "that was started before")
