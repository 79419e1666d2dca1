"""foreign_references: what moves refers only to what moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from engine.connections import Site
from engine.connections.directory_checks import Referring, references
from engine.connections.directory_objects import Modification
from engine.contract import Diff, Failing, Outlook, State, Want
from engine.modules.base import Effect, Module, Reading, Undo

_NOBODY = "not a mailbox, mail user, mail contact or mail-enabled group"


@dataclass(frozen=True, kw_only=True)
class ForeignReferences(Module):
    """No manager, delegate, owner or sender restriction of an object that moves is one that stays behind (C-13).

    Such a reference makes the object, or its group, fail or hang while it is made in the cloud. What stays behind is
    what no migration moves, and the addresses in `staying`. With `remove` the foreign values, and only these, are taken
    away; every value that was there stays in `before`. Without it the row fails and names them.
    """

    address: Annotated[str, "Primary address of the mailbox, contact or group."]
    remove: Annotated[bool, "Take foreign references away, after saving them."] = False
    staying: Annotated[tuple[str, ...], "Addresses of recipients that are not migrated on purpose."] = ()

    family: ClassVar[str] = "foreign_references"
    public: ClassVar[frozenset[str]] = frozenset({"dn", "foreign", "saved"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    lasting: ClassVar[bool] = True
    rights: ClassVar[tuple[str, ...]] = ("WriteProperty on manager, managedBy, publicDelegates and their neighbours",)

    def key(self) -> str:
        return f"foreign_references/{self.address.lower()}"

    def want(self) -> Want:
        return {"foreign": ()}

    def read(self, site: Site) -> State | None:
        referring, moving = references(site)
        found = referring.get(self.address.lower())
        return None if found is None else self._state(found, moving)

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        return {module.key(): module.read(site) for module in modules}

    def _state(self, found: Referring, moving: Mapping[str, str]) -> State:
        staying = {each.lower() for each in self.staying}
        foreign = [(name, value) for name, values in found.values.items() for value in values
                   if moving.get(value.lower(), "") in staying | {""}]
        return {"foreign": tuple(f"{name} {value}" for name, value in foreign), "dn": found.dn,
                "saved": {name: values for name, values in found.values.items()}}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"the source has no recipient {self.address} that moves", "check the inventory")
        if not self.remove:
            foreign: Any = state["foreign"]
            named = "; ".join(f"{each.partition(' ')[0]} is {each.partition(' ')[2]}" for each in foreign)
            return Failing(f"{named}: {_NOBODY}, or it stays behind", (
                "take the reference away or give it to somebody who moves; or set remove_foreign_references: true, "
                "which saves the old values first"))
        return None

    def apply(self, site: Site, diff: Diff) -> None:
        # Deleting exactly what was read: a reference that somebody has changed meanwhile refuses the whole change.
        self._change(site, "delete", diff.before, diff.before)

    def restore(self, site: Site, diff: Diff, before: State | None) -> None:
        """The saved values beside what is there; where somebody has named another manager, the directory refuses."""
        self._change(site, "add", diff.before, before)

    def _change(self, site: Site, verb: Literal["add", "delete"], now: Any, foreign: Any) -> None:
        values: dict[str, list[bytes]] = {}
        for each in foreign["foreign"]:
            name, _, value = str(each).partition(" ")
            values.setdefault(name, []).append(value.encode())
        site.directory.modify(str(now["dn"]), [
            Modification(verb, name, tuple(each)) for name, each in values.items()])
