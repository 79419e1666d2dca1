"""group_members: a group in the cloud has the members it had at the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, Fault, Outlook, State, Unknown, Waiting, Want
from engine.modules.base import Effect, Module, Reading, Reads


@dataclass(frozen=True, kw_only=True)
class GroupMembers(Module):
    """Compare the members after the copy (C-11, and the page's later edition: groups move with their members).

    Members who are in the cloud group and not in the list are left alone.
    """

    address: Annotated[str, "Primary address of the group."]
    members: Annotated[tuple[str, ...], "Primary addresses it must have."] = ()

    family: ClassVar[str] = "members"
    public: ClassVar[frozenset[str]] = frozenset({"missing"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "observe"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(hours=1)
    rights: ClassVar[tuple[str, ...]] = ("View-Only Recipients",)

    def key(self) -> str:
        return f"members/{self.address.lower()}"

    def want(self) -> Want:
        return {"missing": ()}

    def outlook(self, state: State | None, diff: Diff) -> Outlook:
        missing = (state or {}).get("missing")
        names = tuple(map(str, missing)) if isinstance(missing, tuple) else ()
        return Waiting(f"{len(names)} member(s) of {self.address} are not in the cloud's group: {', '.join(names[:3])}"
                       f"{' …' if len(names) > 3 else ''}; members must have come over before their group")

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        ours = [module for module in modules if isinstance(module, GroupMembers)]
        answers = site.exchange_online.group_members([module.address.lower() for module in ours])
        return {module.key(): Unknown.of(there) if isinstance(there, Fault) else module._compared(site, there)
                for module, there in zip(ours, answers, strict=True)}

    def _compared(self, site: Site, there: frozenset[str]) -> State:
        """A member under another of its addresses is the same member."""
        recipients = site.exchange_online.recipients()
        primary = {each.lower(): recipients[each.lower()].address if each.lower() in recipients else each.lower()
                   for each in self.members}
        return {"missing": tuple(sorted(each for each in primary if primary[each] not in there))}
