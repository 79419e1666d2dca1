"""approval: a person decides, and the record says who."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import State, Want
from engine.modules.base import Effect, Module, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class Approval(Module):
    """Ask before going on. A record of who decided what, not access control: `mailmove approve`.

    It holds until the end of the change window it serves, else for 24 hours.
    """

    id: Annotated[str, "Name of the decision; with the row it is what the record is found by."]
    question: Annotated[str, "What is asked."]
    roles: Annotated[tuple[str, ...], "Who should decide; shown."] = ()
    show: Annotated[tuple[str, ...], "What is shown beside the question: guards, waived."] = ()
    group: Annotated[str, "Rows with the same text are decided by one word."] = ""
    typed: Annotated[str, "What the person must type to say yes."] = ""

    family: ClassVar[str] = "approval"
    public: ClassVar[frozenset[str]] = frozenset({"answer", "at", "by", "evidence", "granted", "question", "reason"})
    effect: ClassVar[Effect] = "send"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "journal"

    def key(self) -> str:
        return f"approval/{self.id}"

    def problems(self) -> Iterator[str]:
        if not self.id.strip():
            yield "id: needed, it is what the decision is found by"
        for unknown in sorted(set(self.show) - {"guards", "waived"}):
            yield f"show: {unknown!r} is not known; guards and waived are"

    def want(self) -> Want:
        return {"granted": True}

    def read(self, site: Site) -> State | None:
        return None  # only the journal knows
