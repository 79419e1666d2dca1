"""source_mailbox: the source has this mailbox, under the address by which the service will look for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.contract import Diff, Failing, Fault, Outlook, State, Unknown, Want
from engine.modules.base import Effect, Module, Reading, Undo


@dataclass(frozen=True, kw_only=True)
class SourceMailbox(Module):
    """The address is a mailbox's own: it is a mailbox, primary by its proxies, and `mail` says the same (S-39, B-19).

    A contact's, a group's or a secondary address, or a `mail` that differs, makes the service fail the user although
    everything looks right. With `visible` it must not be hidden either, as the endpoint's test mailbox must not.
    """

    address: Annotated[str, "The address in the batch, or of the endpoint's test."]
    visible: Annotated[bool, "Whether it must stand in the address lists."] = False

    family: ClassVar[str] = "source_mailbox"
    public: ClassVar[frozenset[str]] = frozenset({"dn", "wrong"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "observe"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(hours=1)

    def key(self) -> str:
        return f"source_mailbox/{self.address.lower()}"

    def want(self) -> Want:
        return {"wrong": ()}

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        ours = [module for module in modules if isinstance(module, SourceMailbox)]
        found = site.directory.find([module.address for module in ours])
        answers: dict[str, Reading] = {}
        for module in ours:
            one = found.get(module.address.lower())
            answers[module.key()] = Unknown.of(one) if isinstance(one, Fault) else (
                None if one is None else {"wrong": module._wrong(one), "dn": one.dn})
        return answers

    def _wrong(self, found: Any) -> tuple[str, ...]:
        address, wrong = self.address.lower(), []
        if not found.is_mailbox:
            wrong.append("it is no mailbox (any more)")
        if found.address != address:
            wrong.append(f"it is a secondary address: the primary one is {found.address}")
        if found.mail.lower() != address:
            wrong.append(f"the attribute mail says {found.mail or 'nothing'}")
        if self.visible and found.hidden:
            wrong.append("it is hidden from the address lists")
        return tuple(wrong)

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"no mailbox of the source has the address {self.address}",
                           "a contact's, a group's or a misspelt address: correct the row")
        wrong: Any = state["wrong"]
        return Failing(f"{self.address}: {'; '.join(wrong)}",
                       "correct the row, or the mailbox's addresses at the source")
