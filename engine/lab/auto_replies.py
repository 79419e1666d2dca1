"""Out-of-office texts: at the source by Exchange Web Services, in the cloud by cmdlets.

A copy leaves the texts behind: the flag stays on, the text is empty (S-40). A mailbox row's `oof` is the text its user
has set before the migration; nothing, and there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from engine.lab.cmdlet_output import Output
from engine.lab.objects import Recipient
from engine.lab.organisation import Organisation, SourceMailbox


class AutoReplies:
    """What the cloud's mailboxes answer; a mailbox nobody has set since its copy has the flag and no text."""

    def __init__(self, organisation: Organisation) -> None:
        self._organisation = organisation
        self._set: dict[str, dict[str, Any]] = {}

    def get(self, mailbox: Recipient) -> Output:
        address = mailbox.address.lower()
        source = self._organisation.mailboxes.get(address)
        flag = "Enabled" if source is not None and source.oof else "Disabled"
        found = {"AutoReplyState": flag, "InternalMessage": "", "ExternalMessage": "", "ExternalAudience": "All",
                 "StartTime": None, "EndTime": None, **self._set.get(address, {})}
        return Output([mailbox], lambda each: {"Identity": each.name, "MailboxOwnerId": each.name, **found})

    def set(self, mailbox: Recipient, given: Mapping[str, Any]) -> Output:
        address = mailbox.address.lower()
        then = {name: value for name, value in given.items() if name not in ("Identity", "Confirm")}
        if self._set.get(address) != then:
            self._set[address] = {**self._set.get(address, {}), **then}
            self._organisation.effect(f"out_of_office/{address} set")
        return Output()


def oof_settings(mailbox: SourceMailbox) -> str:
    """GetUserOofSettings: the state and both texts, as the article of that name has them."""
    state = "Enabled" if mailbox.oof else "Disabled"
    text = f"<t:Message>{escape(mailbox.oof or '')}</t:Message>"
    return (f"<t:OofSettings><t:OofState>{state}</t:OofState><t:ExternalAudience>All</t:ExternalAudience>"
            f"<t:Duration><t:StartTime>2026-11-02T00:00:00Z</t:StartTime><t:EndTime>2026-11-03T00:00:00Z</t:EndTime>"
            f"</t:Duration><t:InternalReply>{text}</t:InternalReply><t:ExternalReply>{text}</t:ExternalReply>"
            "</t:OofSettings>")
