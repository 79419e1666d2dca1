"""delivery_probe: a message that was really delivered to the cloud mailbox."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.connections.service_errors import explained
from engine.contract import Diff, Failing, Outlook, Rejected, State, Unreachable, Waiting, Want
from engine.modules import _letter
from engine.modules.base import Effect, Module, Undo

SUBJECT = "mailmove: test of delivery"
TEXT = ("This message was sent by mailmove to prove that mail to {to} arrives in Microsoft 365.\n"
        "Nothing needs to be done about it.\n")


@dataclass(frozen=True, kw_only=True)
class DeliveryProbe(Module):
    """Send one test message and see it in the tenant's message trace (B-43, S-34 b).

    Through `source`: handed to the source's own server, which proves the forwarding of that mailbox. Through `mx`:
    handed to a submission server that routes by public MX, like a message from outside. The Message-ID follows from
    migration, id and recipient, so the message is found again after any interruption and never sent twice unnoticed.
    """

    id: Annotated[str, "Name of the probe; with the recipient it tells this message from all others."]
    to: Annotated[str, "The recipient."]
    through: Annotated[Literal["source", "mx"], "source: connection source_smtp; mx: connection smtp."]

    family: ClassVar[str] = "probe"
    public: ClassVar[frozenset[str]] = frozenset({"delivered", "delivered_at", "message_id", "status"})
    connection: ClassVar[str] = "smtp"
    effect: ClassVar[Effect] = "send"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    # The trace shows a message some minutes after its delivery.
    settles_within: ClassVar[timedelta] = timedelta(minutes=30)
    apply_rows: ClassVar[int] = 5  # what a kill leaves in doubt
    look_again: ClassVar[timedelta] = timedelta(minutes=1)
    rights: ClassVar[tuple[str, ...]] = ("to send as the connection's sender",)
    decided: ClassVar[frozenset[str]] = frozenset({"message_id", "delivered_at"})

    def key(self) -> str:
        return f"probe/{self.id}/{self.to.lower()}"

    def problems(self) -> Iterator[str]:
        yield from _letter.problems(self.id, self.to)

    def want(self) -> Want:
        return {"delivered": True}

    def difference(self, state: State | None) -> Diff | None:
        diff = super().difference(state)
        return replace(diff, verb="send") if diff is not None else None

    def read(self, site: Site) -> State | None:
        message_id = self._message_id(site)
        row = _letter.arrival(site, message_id)
        if row is None:
            return None
        delivered = row.status.lower() == "delivered"
        return {"delivered": delivered, "status": row.status, "message_id": message_id,
                "delivered_at": row.received if delivered else None}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return None
        status = str(state["status"])
        if status.lower() in _letter.FAILED:
            return Failing(f"the test message to {self.to} did not arrive: {status}",
                           "look at the message trace in the Exchange admin centre and mend the route", retry=True)
        return Waiting(f"the test message to {self.to} is under way: {status}")

    def apply(self, site: Site, diff: Diff) -> None:
        smtp = site.client(self._door())
        try:
            smtp.send(smtp.letter(self.to, SUBJECT, TEXT.format(to=self.to), self._message_id(site)))
        except (Rejected, Unreachable) as fault:
            raise explained(fault) from None

    def _door(self) -> str:
        return "source_smtp" if self.through == "source" else "smtp"

    def _message_id(self, site: Site) -> str:
        return str(site.client(self._door()).message_id("probe", self.id, self.to))
