"""What the modules on one recipient of the source's directory share: one search for many, and who is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.connections import Site
from engine.contract import Diff, Failing, Fault, Outlook, State, Unknown
from engine.modules.base import Module, Reading

if TYPE_CHECKING:
    from engine.connections.directory_objects import SourceRecipient


class OnRecipient(Module):
    """Keyed by the recipient's address: `family/anna@contoso.com`."""

    @classmethod
    def state(cls, found: SourceRecipient) -> State:
        """What of the recipient the module owns, and where it is."""
        raise NotImplementedError

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        addresses = {module.key(): _address(module) for module in modules}
        found = site.directory.find(addresses.values())
        answers: dict[str, Reading] = {}
        for key, address in addresses.items():
            one = found.get(address)
            answers[key] = Unknown.of(one) if isinstance(one, Fault) else None if one is None else cls.state(one)
        return answers

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"the directory has no recipient {_address(self)}", "check the inventory's addresses")
        return None


def _address(module: Module) -> str:
    return module.key().partition("/")[2]
