"""Mail of the tenant: kept, expanded, bounced or handed on. All that is ever seen of it is the message trace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from engine.lab.faults import draw
from engine.lab.objects import Message, Recipient

if TYPE_CHECKING:
    from engine.lab.tenant import Tenant

#: People begin to work in the new mailbox within two days of a letter that tells them to [inferred].
USE_HOURS_MAX = 40


class Transport:
    """Of one tenant; the source half calls `is_mx_host` and `accept`."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.messages: list[Message] = []
        self._by_message: dict[str, list[Message]] = {}
        self._by_recipient: dict[str, list[Message]] = {}

    def is_mx_host(self, host: str) -> bool:
        """Whether a mail exchanger is this tenant's: mail sent to it is offered to `accept`."""
        host = host.lower().rstrip(".")
        return any(domain.mx_host == host for domain in self._tenant.domains.values() if domain.verified)

    def accept(self, recipient: str, message_id: str, sender: str, subject: str, at: datetime) -> bool:
        """Mail routed to this tenant. False: nobody here has that address, or not as a mailbox (550 5.1.10)."""
        found = self._tenant.owner(recipient)
        if found is None or not (found.is_mailbox or found.is_group):
            return False
        trace = self._tenant.identifier("trace", len(self.messages))
        if found.is_group:
            self._received(Message(message_id, sender, found.address, subject, at, trace, "Expanded"))
            for member in found.members:
                self._route(member, message_id, sender, subject, at)
            return True
        bounced = self._tenant.faults.bounces.get(found.address)
        if bounced is not None:
            self._received(Message(message_id, sender, found.address, subject, at, trace, "Failed", bounced))
            return True
        found.items += 1
        self._received(Message(message_id, sender, found.address, subject, at, trace))
        if message_id.startswith("<mailmove.mail.") and found.details == "UserMailbox":
            hours = 1 + USE_HOURS_MAX * draw(self._tenant.seed, "use", found.address)
            self._tenant.clock.after(hours * 3600, lambda: self._used(found))
        return True

    def _used(self, mailbox: Recipient) -> None:
        """A person has read the letter, and works in the new mailbox."""
        if mailbox.address not in self._tenant.faults.idle:
            mailbox.used = self._tenant.clock.now()

    def send(self, sender: str, recipient: str, message_id: str, subject: str) -> None:
        """Mail that begins in the cloud."""
        if self._route(recipient, message_id, sender, subject, self._tenant.clock.now()):
            self._tenant.counters.effect(f"mail/{message_id} deliver")

    def _route(self, recipient: str, message_id: str, sender: str, subject: str, at: datetime) -> bool:
        """Kept here when the recipient has a mailbox here, else handed to the source (which counts it itself)."""
        if self.accept(recipient, message_id, sender, subject, at):
            return True
        bounced = self._tenant.faults.bounces.get(recipient.lower())
        taken = bounced is None and self._tenant.organisation.deliver(recipient, message_id, sender, subject, at)
        self._received(Message(
            message_id, sender, recipient.lower(), subject, at, self._tenant.identifier("trace", len(self.messages)),
            "Delivered" if taken else "Failed",
            "" if taken else bounced or "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found", outbound=True))
        return False

    def _received(self, message: Message) -> None:
        """Into the message trace, which is all that is ever seen of it."""
        self.messages.append(message)
        self._by_message.setdefault(message.message_id.strip("<>"), []).append(message)
        self._by_recipient.setdefault(message.recipient, []).append(message)

    def trace(self, message_ids: Sequence[str], recipients: Sequence[str]) -> Sequence[Message]:
        """Messages by id or recipient (as delivered, or any proxy of it); all when neither is given."""
        if message_ids:
            return [m for each in message_ids for m in self._by_message.get(each.strip("<>"), ())]
        if recipients:
            owners = [(self._tenant.owner(each), each.lower()) for each in recipients]
            return [m for owner, each in owners
                    for m in self._by_recipient.get(owner.address if owner else each, ())]
        return self.messages

    def delivered(self) -> dict[str, list[dict[str, str]]]:
        """Messages delivered in the cloud by mailbox, headers only."""
        found: dict[str, list[dict[str, str]]] = {}
        for each in self.messages:
            if each.status == "Delivered" and not each.outbound:
                found.setdefault(each.recipient, []).append({
                    "message_id": each.message_id, "sender": each.sender, "subject": each.subject,
                    "at": each.at.isoformat(), "where": "cloud"})
        return found
