"""The source's mail flow: submission as seen from outside, and the source's own port 25.

Submission asks for STARTTLS and AUTH, and routes by public MX like any server of the world; port 25 is the source's
transport, which knows its recipients and where their mail is forwarded. The protocol class is aiosmtpd's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from engine.lab.organisation import Organisation

#: A message is handled between what the lab does around every request; None: the connection is to be cut instead.
#: The third is what the client has said so far, which a refusal may repeat.
Carry = Callable[[str, Callable[[], str], bytes], Awaitable[str | None]]

#: 35 MB after coding, the default limit of Microsoft 365 for a message.
MESSAGE_BYTES_MAX = 36_700_160


class Transport:
    """Decides, for one door, who receives a message. Pure: answers the SMTP line."""

    def __init__(self, organisation: Organisation, *, outside: bool) -> None:
        self._organisation = organisation
        self._outside = outside

    def recipient(self, address: str) -> str:
        """"" when the recipient is accepted, else the line that refuses it (RFC 5321, RFC 3463)."""
        route = self._route(address)
        if route == "source":
            return self._organisation.receives(address)
        return "" if route == "cloud" else route

    def message(self, sender: str, recipients: list[str], content: bytes) -> str:
        """Deliver to all recipients; the line that answers DATA. Refused as a whole when nobody gets it."""
        organisation = self._organisation
        headers = message_from_bytes(content, policy=policy.default)
        message_id = str(headers.get("Message-ID", "")).strip()
        if not message_id:
            message_id = f"<{len(organisation.delivered) + 1}@{organisation.mail_hosts[0]}>"
        subject, at = str(headers.get("Subject", "")), organisation.clock.now()
        taken = False
        for recipient in recipients:
            if self._route(recipient) == "cloud":
                taken |= organisation.to_cloud(recipient, message_id, sender, subject, at)
            else:
                taken |= organisation.deliver(recipient, message_id, sender, subject, at)
        return f"250 2.6.0 {message_id} Queued mail for delivery" if taken else (
            organisation.cloud_refuses() or "550 5.4.1 Recipient address rejected: Access denied")

    def _route(self, address: str) -> str:
        """source, cloud, or the SMTP line that says why neither."""
        domain = address.lower().rpartition("@")[2]
        if domain == self._organisation.tenant["domain"].lower():
            return "cloud"
        if not self._outside:
            return "source"
        if domain not in self._organisation.domains:
            return "550 5.7.1 Unable to relay"
        # Only what all authoritative servers say: while they differ, the world would go now here, now there.
        hosts = sorted((int(preference), host.rstrip(".").lower()) for preference, host in (
            value.split() for value in self._organisation.public.lookup_public(domain, "MX")))
        if not hosts:
            return f"451 4.4.4 Mail exchangers of {domain} cannot be told now"
        best = hosts[0][1]
        if best in self._organisation.mail_hosts:
            return "source"
        if self._organisation.cloud is not None and self._organisation.cloud.is_mx_host(best):
            return "cloud"
        return f"451 4.4.1 {best} does not answer"


class MailServer:
    """One listening door; `protocol` makes aiosmtpd's protocol for each connection."""

    def __init__(self, organisation: Organisation, carry: Carry, context: ssl.SSLContext,
                 refused: Callable[[str, bytes], str], *, submission: bool) -> None:
        self._organisation = organisation
        self._refused = refused
        self._carry = carry
        self._context = context
        self._submission = submission
        self._transport = Transport(organisation, outside=submission)
        self._kind = "smtp" if submission else "source_smtp"

    def protocol(self) -> SMTP:
        return SMTP(self, hostname=self._organisation.mail_hosts[0], ident="Microsoft ESMTP MAIL Service ready",
                    data_size_limit=MESSAGE_BYTES_MAX, enable_SMTPUTF8=True, tls_context=self._context,
                    require_starttls=self._submission, auth_required=self._submission,
                    authenticator=self._authenticate)

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str,
                      data: Any) -> AuthResult:
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        if refusal := self._refused(f"{self._kind} AUTH", b"\0".join((b"", data.login, data.password))):
            return AuthResult(success=False, handled=False, message=f"535 5.7.8 {refusal}")
        known = self._organisation.account_ok(
            data.login.decode("utf-8", "replace"), data.password.decode("utf-8", "replace"))
        return AuthResult(success=known, handled=False, auth_data=data)

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope,  # noqa: N802 - aiosmtpd's name
                          address: str, options: list[str]) -> str:
        refused = await self._carry(f"{self._kind} RCPT", lambda: self._transport.recipient(address),
                                    _said(session))
        if refused is None:
            return self._cut(server)
        if refused:
            return refused
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        sender = envelope.mail_from or ""
        answer = await self._carry(
            f"{self._kind} DATA", lambda: self._transport.message(sender, envelope.rcpt_tos, content),
            _said(session))
        return self._cut(server) if answer is None else answer

    def _cut(self, server: SMTP) -> str:
        """The connection breaks before the answer: what was done stays done."""
        if isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        return "421 4.3.0 closing"


def _said(session: Session) -> bytes:
    """The sign-in of this line, in clear."""
    data = session.auth_data
    return b" ".join((data.login, data.password)) if isinstance(data, LoginPassword) else b""
