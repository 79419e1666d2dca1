"""What the source's Exchange Management Shell does to a mailbox's directory object, cmdlet by cmdlet.

Disable-Mailbox takes every Exchange attribute away and keeps the mailbox disconnected in its database for 30 days;
Enable-MailUser mail-enables the object anew, with a new legacyExchangeDN and the addresses of the address policy;
Connect-Mailbox gives a disconnected mailbox to a user. Sources: the cmdlet reference; which attributes go and come is
inferred from "Convert Exchange 2007 mailboxes to mail-enabled users", whose script writes them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from engine.lab.directory import DirectoryError, DirectoryObject, Operation, Values
from engine.lab.facts import ServiceError
from engine.lab.organisation import Organisation

#: "Deleted mailbox retention" of a database that nobody has changed.
RETENTION = timedelta(days=30)
#: What makes an object a mailbox, and what makes it a recipient at all.
_MAILBOX = ("homeMDB", "homeMTA", "msExchHomeServerName", "mDBUseDefaults", "msExchMailboxSecurityDescriptor",
            "msExchUserAccountControl", "msExchUserCulture")
_RECIPIENT = ("mail", "mailNickname", "proxyAddresses", "targetAddress", "legacyExchangeDN", "msExchMailboxGuid",
              "msExchPoliciesIncluded", "msExchPoliciesExcluded", "msExchRecipientTypeDetails",
              "msExchRecipientDisplayType", "msExchHideFromAddressLists", "showInAddressBook")
_POLICY = b"{23668AD4-4FA1-4EE8-B2BB-F94640E8FBA0},{26491CFC-9E50-4857-861B-0CB8DF22B5D7}"
_EXCLUDED = b"{26491CFC-9E50-4857-861B-0CB8DF22B5D7}"


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A mailbox without an owner, as its database keeps it."""

    guid: UUID
    attributes: Mapping[str, Values]
    until: datetime


class SourceMailboxes:
    """The cmdlets, by lower-case name in `acts`. ServiceError in the shell's words when one refuses."""

    def __init__(self, organisation: Organisation) -> None:
        self._organisation = organisation
        self._directory = organisation.directory
        self._disconnected: dict[UUID, Disconnected] = {}
        self.acts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "disable-mailbox": self._disable_mailbox, "enable-mailuser": self._enable_mail_user,
            "set-mailuser": self._set_mail_user, "disable-mailuser": self._disable_mail_user,
            "connect-mailbox": self._connect_mailbox,
        }

    def _disable_mailbox(self, given: Mapping[str, Any]) -> None:
        entry = self._entry(given["Identity"])
        if "homeMDB" not in entry.attributes:
            raise _not_found(given["Identity"], "mailbox")
        guid = UUID(bytes_le=entry.attributes["msExchMailboxGuid"][0])
        kept = {name: entry.attributes[name] for name in (*_MAILBOX, *_RECIPIENT) if name in entry.attributes}
        self._disconnected[guid] = Disconnected(guid, kept, self._organisation.clock.now() + RETENTION)
        with self._told(entry, "disable"):
            self._take(entry, (*_MAILBOX, *_RECIPIENT))

    def _enable_mail_user(self, given: Mapping[str, Any]) -> None:
        entry = self._entry(given["Identity"])
        if {"homeMDB", "targetAddress", "mailNickname"} & set(entry.attributes):
            raise ServiceError("", f"'{given['Identity']}' is already mail-enabled.")
        external = str(given["ExternalEmailAddress"]).removeprefix("SMTP:")
        alias = entry.text("sAMAccountName") or external.partition("@")[0]
        domain = next(iter(self._organisation.domains))
        root = (next(iter(self._organisation.mailboxes.values())).legacy_dn).rpartition("/cn=")[0]
        primary = f"{alias}@{domain}"
        with self._told(entry, "enable"):
            self._put(entry, targetAddress=f"SMTP:{external}", mail=external, mailNickname=alias,
                      proxyAddresses=[f"SMTP:{primary}", f"smtp:{external}"],
                      legacyExchangeDN=f"{root}/cn={alias}{entry.attributes['uSNChanged'][0].decode()}",
                      msExchPoliciesIncluded=_POLICY.decode(), msExchRecipientTypeDetails="128",
                      msExchRecipientDisplayType="6")

    def _set_mail_user(self, given: Mapping[str, Any]) -> None:
        entry = self._entry(given["Identity"])
        if "targetAddress" not in entry.attributes or "homeMDB" in entry.attributes:
            raise _not_found(given["Identity"], "mail user")
        with self._told(entry, "set"):
            if given.get("EmailAddressPolicyEnabled") is False:
                self._put(entry, msExchPoliciesExcluded=_EXCLUDED.decode())
                self._take(entry, ("msExchPoliciesIncluded",))
            elif "msExchPoliciesIncluded" in entry.attributes and given.get("EmailAddresses"):
                raise ServiceError("", "The e-mail addresses are made by a policy: EmailAddressPolicyEnabled is true.")
            if given.get("EmailAddresses"):
                primaries = [each for each in given["EmailAddresses"] if str(each).startswith("SMTP:")]
                if len(primaries) != 1:
                    raise ServiceError("", f"{len(primaries)} primary SMTP addresses; there must be one.")
                self._put(entry, proxyAddresses=list(given["EmailAddresses"]))
            if given.get("WindowsEmailAddress"):
                self._put(entry, mail=str(given["WindowsEmailAddress"]))

    def _disable_mail_user(self, given: Mapping[str, Any]) -> None:
        entry = self._entry(given["Identity"])
        if "targetAddress" not in entry.attributes or "homeMDB" in entry.attributes:
            raise _not_found(given["Identity"], "mail user")
        with self._told(entry, "disable"):
            self._take(entry, _RECIPIENT)

    def _connect_mailbox(self, given: Mapping[str, Any]) -> None:
        entry, now = self._entry(given["User"]), self._organisation.clock.now()
        found = next((each for each in self._disconnected.values()
                      if str(each.guid) == str(given["Identity"]).lower() and now < each.until), None)
        if found is None:
            raise ServiceError("", f"Mailbox \"{given['Identity']}\" doesn't exist on the database.")
        if {"homeMDB", "targetAddress", "mailNickname"} & set(entry.attributes):
            raise ServiceError("", f"'{given['User']}' is already mail-enabled.")
        del self._disconnected[found.guid]
        with self._told(entry, "connect"):
            names = (*_MAILBOX, "msExchMailboxGuid", "msExchRecipientTypeDetails", "msExchRecipientDisplayType",
                     "mailNickname", "mail")
            alias = entry.text("sAMAccountName") or ""
            self._change(entry, [("replace", name, found.attributes[name]) for name in names
                                 if name in found.attributes])
            mail = (entry.text("mail") or "").lower()
            self._put(entry, proxyAddresses=[f"SMTP:{mail}"], msExchPoliciesIncluded=_POLICY.decode(),
                      legacyExchangeDN=f"{found.attributes['legacyExchangeDN'][0].decode()}-{alias}")

    # ------------------------------------------------------------------------------------------------- pieces

    def _entry(self, identity: object) -> DirectoryObject:
        """By distinguished name, or by an address of the object."""
        text = str(identity)
        entry = self._directory.get(text) if "=" in text else next(
            iter(self._directory.equal("proxyAddresses", f"smtp:{text.lower()}".encode()) or ()), None)
        if entry is None:
            raise _not_found(text, "object")
        return entry

    def _take(self, entry: DirectoryObject, names: tuple[str, ...]) -> None:
        self._change(entry, [("delete", name, ()) for name in names if name in entry.attributes])

    def _put(self, entry: DirectoryObject, **values: str | list[str]) -> None:
        self._change(entry, [
            ("replace", name, tuple(each.encode() for each in ([value] if isinstance(value, str) else value)))
            for name, value in values.items() if name.lower() in self._directory.schema])

    def _change(self, entry: DirectoryObject, changes: list[tuple[Operation, str, Values]]) -> None:
        try:
            self._directory.modify(entry.dn, changes)
        except DirectoryError as error:
            raise ServiceError("", f"Active Directory operation failed: {error.text}") from None

    @contextmanager
    def _told(self, entry: DirectoryObject, verb: str) -> Iterator[None]:
        """One effect for the cmdlet, instead of one for each attribute."""
        address = next((address for address, each in self._organisation.mailboxes.items() if each.entry is entry), "")
        watcher, self._directory.watcher = self._directory.watcher, lambda entry, before: None
        try:
            yield
        finally:
            self._directory.watcher = watcher
        self._organisation.effect(f"mailbox/{address or entry.dn} {verb}")


def _not_found(identity: object, what: str) -> ServiceError:
    return ServiceError("", f"The operation couldn't be performed because {what} '{identity}' couldn't be found.")
