"""item_counts: source and cloud mailbox hold the same number of items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, Fault, Outlook, State, Unknown, Waiting, Want
from engine.modules.base import Effect, Module, Reading, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class ItemCounts(Module):
    """Compare the counts of the two mailboxes, and wait until they agree (B-35). Writes nothing.

    They never agree to the last item: corrupt and oversized ones are skipped, and new mail arrives. A difference that
    stays is for a person to look at, and to waive or to mend.
    """

    address: Annotated[str, "Primary address of the mailbox."]
    tolerance_percent: Annotated[float, "How far apart they may be, in per cent of the source's count."] = 1.0

    family: ClassVar[str] = "counts"
    public: ClassVar[frozenset[str]] = frozenset({"agree", "cloud_items", "source_items", "source_read_at"})
    connection: ClassVar[str] = "ews"
    effect: ClassVar[Effect] = "observe"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(hours=1)
    rights: ClassVar[tuple[str, ...]] = ("Full Access to the mailboxes",)
    decided: ClassVar[frozenset[str]] = frozenset({"source_items", "cloud_items", "source_read_at"})

    def key(self) -> str:
        return f"counts/{self.address.lower()}"

    def problems(self) -> Iterator[str]:
        if not 0 <= self.tolerance_percent <= 100:
            yield "tolerance_percent: from 0 to 100"

    def want(self) -> Want:
        return {"agree": True}

    def outlook(self, state: State | None, diff: Diff) -> Outlook:
        counted = state or {}
        return Waiting(f"the source holds {counted.get('source_items')} items, the cloud {counted.get('cloud_items')}; "
                       f"{self.tolerance_percent:g} per cent may be missing")

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        """The cloud's counts in batches, the source's mailbox by mailbox; one bad mailbox spoils no other."""
        ours = [module for module in modules if isinstance(module, ItemCounts)]
        cloud = site.exchange_online.item_counts([module.address.lower() for module in ours])
        found: dict[str, Reading] = {}
        for module in ours:
            try:
                found[module.key()] = module._compared(site, cloud.get(module.address.lower()))
            except Fault as fault:
                found[module.key()] = Unknown.of(fault)
        return found

    def _compared(self, site: Site, cloud: int | None) -> State | Unknown:
        if cloud is None:
            return Unknown(f"exchange_online: the items of {self.address} could not be counted")
        source = site.ews.count(self.address.lower())
        apart = abs(source.items - cloud) * 100
        return {"agree": apart <= self.tolerance_percent * source.items, "source_items": source.items,
                "cloud_items": cloud, "source_read_at": source.read_at}
