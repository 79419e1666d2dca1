"""mail: a letter to one person, sent once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.contract import Diff, State, Want
from engine.modules import _letter
from engine.modules.base import Effect, Module, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class Mail(Module):
    """Send a plain text (C-18, C-19, C-24, C-30). The journal remembers that it was sent, when, and in which wording.

    The letter itself is not kept. After an interruption in mid-sending it is looked for by its Message-ID in the
    tenant's message trace; if it is not found there, a person is asked. It cannot be called back: a correction is a
    letter of its own, with an `id` of its own.
    """

    id: Annotated[str, "Name of the letter: sent once for each id and recipient, however it is reworded."]
    to: Annotated[str, "The recipient."]
    letter: Annotated[str, "Letter NAME.txt of the inventory's `letters` folder, else the shipped one; instead of "
                           "subject and text."] = ""
    subject: Annotated[str, "Subject, one line."] = ""
    text: Annotated[str, "The letter, plain text."] = ""
    template: Annotated[str, "Digest of the wording, which `letter` brings with it; recorded."] = ""
    through: Annotated[Literal["best", "graph", "smtp"],
                       "best: graph where that connection has a `sender`, else smtp."] = "best"

    family: ClassVar[str] = "mail"
    public: ClassVar[frozenset[str]] = frozenset({
        "message_id", "resolved_by", "sent", "sent_at", "template", "through"})
    connection: ClassVar[str] = "smtp"
    effect: ClassVar[Effect] = "send"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "journal"
    settles_within: ClassVar[timedelta] = timedelta(minutes=30)
    apply_rows: ClassVar[int] = 5  # what a kill leaves in doubt
    look_again: ClassVar[timedelta] = timedelta(minutes=1)
    rights: ClassVar[tuple[str, ...]] = ("Mail.Send, or to submit mail as the connection's sender",)
    decided: ClassVar[frozenset[str]] = frozenset({"message_id", "sent_at"})
    letter_fields: ClassVar[tuple[str, ...]] = ("subject", "text", "template")

    def key(self) -> str:
        return f"mail/{self.id}/{self.to.lower()}"

    def problems(self) -> Iterator[str]:
        yield from _letter.problems(self.id, self.to)
        if "\n" in self.subject.strip() or "\r" in self.subject or not self.subject.strip():
            yield "subject: one line, not empty (RFC 5322, section 2.2); or name a letter"
        if not self.text.strip():
            yield "text: needed; or name a letter"

    def want(self) -> Want:
        return {"sent": True}

    def sample(self) -> str:
        return f"To: {self.to}\nSubject: {self.subject.strip()}\n\n{self.text.strip()}"

    def read(self, site: Site) -> State | None:
        """Only asked when an act is in doubt: the mark in the trace. None: no trace of it."""
        row = _letter.arrival(site, self._message_id(site))
        return None if row is None else self._sent(site) | {"sent_at": row.received}

    def apply(self, site: Site, diff: Diff) -> State:
        subject, message_id = self.subject.strip(), self._message_id(site)
        if _letter.door(site, self.through) == "graph":
            site.graph.send_mail(self.to, subject, self.text, message_id)
        else:
            site.smtp.send(site.smtp.letter(self.to, subject, self.text, message_id))
        return self._sent(site) | {"sent_at": site.world.clock.now()}

    def _sent(self, site: Site) -> dict[str, str | bool]:
        wording = self.template or blake2b(f"{self.subject}\n\n{self.text}".encode(), digest_size=8).hexdigest()
        return {"sent": True, "message_id": self._message_id(site), "template": wording,
                "through": _letter.door(site, self.through)}

    def _message_id(self, site: Site) -> str:
        return _letter.message_id(site, self.through, "mail", self.id, self.to)
