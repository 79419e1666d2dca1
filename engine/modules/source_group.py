"""source_group: the inventory says of a group what the source says, so that security groups are made in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.directory_checks import security_groups
from engine.contract import Diff, Failing, Outlook, State, Want
from engine.modules.base import Effect, Module, Reading, Undo


@dataclass(frozen=True, kw_only=True)
class SourceGroup(Module):
    """A mail-enabled group of the source is, or is not, a security group, as its row says (C-11).

    The migration service cannot tell: a security group that is not made beforehand becomes a distribution group, and
    its type can never be changed.
    """

    address: Annotated[str, "Primary address of the group."]
    security: Annotated[bool, "Whether the inventory calls it a security group."]

    family: ClassVar[str] = "source_group"
    public: ClassVar[frozenset[str]] = frozenset({"security"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "observe"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(hours=1)

    def key(self) -> str:
        return f"source_group/{self.address.lower()}"

    def want(self) -> Want:
        return {"security": self.security}

    def read(self, site: Site) -> State | None:
        found = security_groups(site).get(self.address.lower())
        return None if found is None else {"security": found}

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        return {module.key(): module.read(site) for module in modules}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"the source has no mail-enabled group {self.address}", "correct or remove its row")
        is_one: Any = state["security"]
        words = "a security group" if is_one else "a distribution group"
        return Failing(f"{self.address} is {words} at the source",
                       f"write security: {str(is_one).lower()} in its row, or change the group at the source")
