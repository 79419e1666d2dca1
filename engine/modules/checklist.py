"""checklist: work that only people can do, confirmed by one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.contract import State, Want
from engine.data import outlook, table
from engine.modules.base import Effect, Module, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class Checklist(Module):
    """Wait until a person says that every item is done: `mailmove resolve --done`, with evidence where asked for."""

    id: Annotated[str, "Name of the list; with the row it is what the record is found by."]
    items: Annotated[tuple[str, ...], "What must be done, one sentence each."]
    roles: Annotated[tuple[str, ...], "Who should confirm; shown."] = ()
    group: Annotated[str, "Rows with the same text are confirmed by one word."] = ""
    known: Annotated[Literal["", "outlook"], "What is known of it, as of a day, is shown with the items: a line each "
                                             "of engine/data/dates.yml."] = ""
    evidence: Annotated[str, "What is to be kept as evidence; empty: nothing."] = ""

    def __post_init__(self) -> None:
        if self.known == "outlook":
            told = tuple(f"{each} (as of {table()['as_of']})" for each in outlook())
            object.__setattr__(self, "items", (*self.items, *(each for each in told if each not in self.items)))

    family: ClassVar[str] = "checklist"
    public: ClassVar[frozenset[str]] = frozenset({"at", "by", "done", "evidence", "items", "reason"})
    effect: ClassVar[Effect] = "send"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "journal"

    def key(self) -> str:
        return f"checklist/{self.id}"

    def problems(self) -> Iterator[str]:
        if not self.id.strip():
            yield "id: needed, it is what the confirmation is found by"
        if not self.items:
            yield "items: a checklist needs at least one item"

    def want(self) -> Want:
        return {"done": True}

    def read(self, site: Site) -> State | None:
        return None  # only the journal knows
