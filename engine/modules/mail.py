"""mail: a letter to one person, sent once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, State, Want
from engine.modules import _letter
from engine.modules.base import Effect, Module, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class Mail(Module):
    """Send a plain text (B-44, C-18). The journal remembers that it was sent; the letter itself is not kept.

    After an interruption in mid-sending it is looked for by its Message-ID in the tenant's message trace; if it is not
    found there, a person is asked.
    """

    id: Annotated[str, "Name of the letter: sent once for each id and recipient, however it is reworded."]
    to: Annotated[str, "The recipient."]
    subject: Annotated[str, "Subject, one line."]
    text: Annotated[str, "The letter, plain text."]

    family: ClassVar[str] = "mail"
    connection: ClassVar[str] = "smtp"
    effect: ClassVar[Effect] = "send"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "journal"
    settles_within: ClassVar[timedelta] = timedelta(minutes=30)
    apply_rows: ClassVar[int] = 5  # what a kill leaves in doubt
    look_again: ClassVar[timedelta] = timedelta(minutes=1)
    rights: ClassVar[tuple[str, ...]] = ("to send as the connection's sender",)
    decided: ClassVar[frozenset[str]] = frozenset({"message_id", "sent_at"})

    def key(self) -> str:
        return f"mail/{self.id}/{self.to.lower()}"

    def problems(self) -> Iterator[str]:
        yield from _letter.problems(self.id, self.to)
        if "\n" in self.subject.strip() or "\r" in self.subject or not self.subject.strip():
            yield "subject: one line, not empty (RFC 5322, section 2.2)"

    def want(self) -> Want:
        return {"sent": True}

    def read(self, site: Site) -> State | None:
        """Only asked when an act is in doubt: the mark in the trace. None: no trace of it."""
        message_id = site.smtp.message_id("mail", self.id, self.to)
        row = _letter.arrival(site, message_id)
        return None if row is None else {"sent": True, "message_id": message_id, "sent_at": row.received}

    def apply(self, site: Site, diff: Diff) -> State:
        smtp = site.smtp
        message_id = smtp.message_id("mail", self.id, self.to)
        smtp.send(smtp.letter(self.to, self.subject.strip(), self.text, message_id))
        return {"sent": True, "message_id": message_id, "sent_at": site.world.clock.now()}
