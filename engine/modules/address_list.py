"""address_list: a mailbox stands in the address lists, where the migration service looks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.directory_objects import Modification, SourceRecipient
from engine.contract import Diff, State, Want
from engine.modules._recipient import OnRecipient
from engine.modules.base import Effect, Undo


@dataclass(frozen=True, kw_only=True)
class AddressList(OnRecipient):
    """A mailbox that is copied is not hidden from the address lists: hidden ones are not found (C-27).

    Whether it was hidden stays in `before`; a later task with `hidden: "{{ visible.before.hidden }}"` hides it again. A
    mailbox left out on purpose is waived, with the reason.
    """

    address: Annotated[str, "Primary address of the mailbox."]
    hidden: Annotated[bool, "Whether it is hidden."] = False

    family: ClassVar[str] = "address_list"
    public: ClassVar[frozenset[str]] = frozenset({"dn", "hidden"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "restore"
    lasting: ClassVar[bool] = True
    rights: ClassVar[tuple[str, ...]] = ("WriteProperty on msExchHideFromAddressLists",)

    def key(self) -> str:
        return f"address_list/{self.address.lower()}"

    def want(self) -> Want:
        return {"hidden": self.hidden}

    @classmethod
    def state(cls, found: SourceRecipient) -> State:
        return {"hidden": found.hidden, "dn": found.dn}

    def apply(self, site: Site, diff: Diff) -> None:
        before: Any = diff.before
        site.directory.modify(str(before["dn"]), (_hide(hidden=self.hidden),))

    def restore(self, site: Site, diff: Diff, before: State | None) -> None:
        now: Any = diff.before
        site.directory.modify(str(now["dn"]), (_hide(hidden=bool((before or {}).get("hidden"))),))


def _hide(*, hidden: bool) -> Modification:
    """Absent and FALSE are the same to every release; absent is what a mailbox is made with."""
    return Modification("replace", "msExchHideFromAddressLists", (b"TRUE",) if hidden else ())
