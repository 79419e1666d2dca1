"""The source organisation as plain state: mailboxes, groups, contacts, domains, and the mail that arrived there.

What the directory says of a mailbox is the truth about it: a modify over LDAP changes the `SourceMailbox`, because
it holds nothing twice. No sockets; `engine.lab.source` serves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from engine.lab.directory import INVALID_CREDENTIALS, Account, Directory, DirectoryError, DirectoryObject, Values
from engine.lab.dns import Zones
from engine.lab.published import Published
from engine.lab.rights import Rights

#: What can be wrong with an account, and the number by which Active Directory tells it after a failed sign-in.
TROUBLES = {"expired": "532", "disabled": "533", "must change": "773", "locked": "775", "reads only": ""}


class Clock(Protocol):
    """The lab's virtual clock, as far as the source needs it."""

    def now(self) -> datetime: ...


class Cloud(Protocol):
    """The tenant's transport, as the source's mail flow sees it."""

    def accept(self, recipient: str, message_id: str, sender: str, subject: str, at: datetime) -> bool:
        """Mail routed to the cloud. False: there is no such recipient."""
        ...

    def is_mx_host(self, host: str) -> bool:
        """Whether the cloud receives mail from outside under that host name (lower case, no trailing dot)."""
        ...


class PublicDns(Protocol):
    """The zones as the world sees them: the lab's own, or those of real servers in their place."""

    def lookup_public(self, name: str, rtype: str) -> list[str]:
        """Values in zone-file form, sorted, as all authoritative servers say; [] when they differ or have none."""
        ...

    def state(self) -> dict[str, dict[str, list[str]]]:
        """Every record set but SOA as "TTL value" texts, by zone and "label TYPE"."""
        ...


class SourceMailbox:
    """A user object of the directory that has, or had, a mailbox.

    items: messages and other items in all folders of the user's tree; size_mb: mebibytes; guid, legacy_dn: as at
    the start; fail: id of the error with which the service fails it, or None.
    """

    def __init__(self, entry: DirectoryObject, address: str, row: Mapping[str, Any], items: int, size_mb: int) -> None:
        self.entry = entry
        self.address = address
        self.name = str(row.get("name") or address)
        self.type = str(row.get("type") or "user")
        self.server = str(row["server"])
        self.database = str(row["database"])
        self.items = items
        self.size_mb = size_mb
        self.fail: str | None = row.get("fail") or None
        #: the out-of-office text its user has set
        self.oof: str | None = row.get("oof") or None
        #: what directory synchronisation cannot write of it, as a category of Graph ("PropertyConflict")
        self.sync_error: str | None = row.get("sync_error") or None
        self.guid = UUID(bytes_le=entry.attributes["msExchMailboxGuid"][0])
        self.legacy_dn = entry.text("legacyExchangeDN") or ""

    @property
    def aliases(self) -> list[str]:
        """Further SMTP addresses, lower case, in the directory's order."""
        return [value[5:].decode().lower() for value in self.entry.attributes.get("proxyAddresses", ())
                if value.startswith(b"smtp:")]

    @property
    def hidden(self) -> bool:
        return self.entry.first("msExchHideFromAddressLists") == b"TRUE"

    @property
    def target_address(self) -> str | None:
        """Where its mail is forwarded to, as a bare lower-case address."""
        value = self.entry.text("targetAddress")
        return None if value is None else _bare(value)

    @property
    def is_mailbox(self) -> bool:
        """False once converted: a mailbox is what has a home in a database."""
        return "homeMDB" in self.entry.attributes

    @property
    def is_mail_user(self) -> bool:
        return not self.is_mailbox and self.target_address is not None


@dataclass(frozen=True)
class Group:
    """A distribution group; security: also a security principal. Members and managed_by are addresses."""

    address: str
    name: str
    security: bool
    members: tuple[str, ...]
    managed_by: str | None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contact:
    """A mail contact: an address outside, listed in the organisation's address book."""

    address: str
    name: str
    target_address: str


@dataclass
class Organisation:
    """Everything at the source. `effect` is told what really changed, as "<key> <verb>"."""

    type: str
    exchange: str
    tenant: dict[str, str]
    vars: dict[str, Any]
    seed: int
    clock: Clock
    directory: Directory
    dns: Zones
    account: str
    password: str
    #: names under which the source's servers receive mail; the first is the one they greet with
    mail_hosts: tuple[str, ...]
    mailboxes: dict[str, SourceMailbox] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    #: the migration account: disabled, locked, password_age_days, password_days_max, expires_in_days
    account_state: dict[str, Any] = field(default_factory=dict)
    contacts: dict[str, Contact] = field(default_factory=dict)
    domains: dict[str, dict[str, Any]] = field(default_factory=dict)
    delivered: list[dict[str, str]] = field(default_factory=list)
    #: where a real directory stands in: how a targetAddress is set there
    target_address_set: Callable[[DirectoryObject, Values], None] | None = None
    #: account name → one of TROUBLES
    troubles: dict[str, str] = field(default_factory=dict)
    cloud: Cloud | None = None
    #: how it is seen from outside; made when it is served, since certificates are files
    published: Published | None = None
    #: what the organisation file says of it
    publishing: Mapping[str, Any] = field(default_factory=dict)
    #: who may do what in the directory; made when it is filled
    rights: Rights | None = None
    effect: Callable[[str], None] = lambda name: None
    #: somebody comes to the company: a row of `mailboxes`
    hire: Callable[[Mapping[str, Any]], None] = lambda row: None
    #: what the world sees of the zones; None: what `dns` holds
    public_dns: PublicDns | None = None
    #: the SMTP line with which the cloud refuses mail from this organisation's server, "" while it takes it
    cloud_refuses: Callable[[], str] = lambda: ""

    @classmethod
    def from_rows(cls, description: Mapping[str, Any], seed: int, clock: Clock) -> Organisation:
        """The organisation an inventory describes. The same description and seed give the same one, GUIDs included.

        description: {"type", "exchange", "tenant": {id, domain}, "vars", "rows": {kind: [{field: value}]}}, and
        "dns_lag_seconds": how long the second name server takes to follow the first (0); "published": what is wrong
        with the published name (engine.lab.published); "preparation": what the source's administrators have left undone
        {rights, forwarding, protected: [address], foreign: {address: attribute}} (engine.lab.rights, premises);
        "directory_separate_writes": whether the directory refuses to take a mailbox away and mail-enable its object in
        one request (false).
        ValueError when a row lacks its key or an Exchange release is not known.
        """
        from engine.lab.premises import build

        return build(description, seed, clock)

    # ----------------------------------------------------------------------------------------- the account

    def change_password(self, password: str) -> None:
        """The migration account's password is another one from now on."""
        self.password = password

    def server_of(self, address: str) -> str | None:
        """The mailbox server of an address; None where nobody has it."""
        found = self.mailboxes.get(address)
        return found.server if found is not None else None

    def account_ok(self, user: str, password: str) -> bool:
        """Whether these are the migration account's credentials: DOMAIN\\name, name@domain, name alone or its DN."""
        name = _account_name(self.account)
        typed = _account_name(user) if not user.lower().startswith("cn=") else user.split(",")[0][3:].lower()
        return typed == name and password == self.password and not TROUBLES.get(self.troubles.get(name, ""))

    def sign_in(self, user: str, password: str) -> Account:
        """The directory's own sign-in, which takes no bare account name. Raises DirectoryError with the reason."""
        name = _account_name(self.account)
        trouble = self.troubles.get(name, "")
        reason = TROUBLES.get(trouble) or "52e"
        if not self.account_ok(user, password) or not any(sign in user for sign in "\\@="):
            raise DirectoryError(INVALID_CREDENTIALS, "80090308: LdapErr: DSID-0C0903A9, comment: "
                                                      f"AcceptSecurityContext error, data {reason}, v1db1")
        return Account(name, writes=trouble != "reads only")

    # ----------------------------------------------------------------------------------------- recipients

    def recipient(self, address: str) -> SourceMailbox | Group | Contact | None:
        """Who receives mail for an address: by any SMTP proxy address in the directory."""
        address = address.lower()
        for entry in self.directory.equal("proxyAddresses", b"smtp:" + address.encode()) or ():
            primary = _primary(entry)
            found = self.mailboxes.get(primary) or self.groups.get(primary) or self.contacts.get(primary)
            if found is not None:
                return found
        return None

    def mailbox(self, address: str) -> SourceMailbox | None:
        """The mailbox behind an address; None when there is none (any more)."""
        found = self.recipient(address)
        return found if isinstance(found, SourceMailbox) and found.is_mailbox else None

    def set_target_address(self, address: str, value: str | None) -> None:
        """Forward all mail of a mailbox, as the service does when a staged copy starts; None ends it.

        KeyError when there is no such mailbox.
        """
        mailbox = self.mailboxes[address.lower()]
        values: Values = () if value is None else (f"SMTP:{_bare(value)}".encode(),)
        if self.target_address_set is not None:
            self.target_address_set(mailbox.entry, values)
        else:
            self.directory.modify(mailbox.entry.dn, [("replace", "targetAddress", values)])

    def changed(self, entry: DirectoryObject, before: Mapping[str, Values]) -> None:
        """Called after each modify: names the effect by what it means for the migration."""
        address = _primary(entry) or entry.dn
        if "homeMDB" in before and "homeMDB" not in entry.attributes:
            self.effect(f"conversion/{address} convert")
        elif "homeMDB" not in before and "homeMDB" in entry.attributes:
            self.effect(f"conversion/{address} undo")
        elif before.get("targetAddress") != entry.attributes.get("targetAddress"):
            self.effect(f"forwarding/{address} set")
        else:
            self.effect(f"directory/{address} modify")

    # ----------------------------------------------------------------------------------------------- mail

    def receives(self, address: str) -> str:
        """What the source's transport says to a recipient: "" (accepted) or the SMTP answer that refuses it."""
        found = self.recipient(address)
        domain = address.lower().rpartition("@")[2]
        if isinstance(found, SourceMailbox) and not (found.is_mailbox or found.target_address):
            return "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found"
        if found is not None or domain == self.tenant["domain"].lower():
            return ""
        if domain in self.domains:
            return "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found"
        return "550 5.7.1 Unable to relay"

    def deliver(self, recipient: str, message_id: str, sender: str, subject: str, at: datetime | None = None) -> bool:
        """Mail that has reached the source: into the mailbox, or on to where `targetAddress` points.

        Members of a group each get it. False when it could not be delivered to anybody.
        """
        at = at or self.clock.now()
        found = self.recipient(recipient)
        if isinstance(found, Group):
            answers = [self.deliver(member, message_id, sender, subject, at) for member in found.members]
            return any(answers)
        forward = found.target_address if found is not None else recipient.lower()
        if forward is not None:
            if self.cloud_refuses():
                return False
            return self.to_cloud(forward, message_id, sender, subject, at)
        assert isinstance(found, SourceMailbox)
        if not found.is_mailbox:
            return False
        found.items += 1
        self._record("source", found.address, message_id, sender, subject, at)
        return True

    def to_cloud(self, recipient: str, message_id: str, sender: str, subject: str, at: datetime) -> bool:
        """Hand a message to the tenant. False when it is not taken there."""
        domain = recipient.lower().rpartition("@")[2]
        ours = domain == self.tenant["domain"].lower() or domain in self.domains
        if not ours or self.cloud is None or not self.cloud.accept(recipient, message_id, sender, subject, at):
            return False
        self._record("cloud", recipient.lower(), message_id, sender, subject, at)
        return True

    def _record(self, where: str, recipient: str, message_id: str, sender: str, subject: str, at: datetime) -> None:
        self.delivered.append({"message_id": message_id, "sender": sender, "recipient": recipient,
                               "subject": subject, "at": at.isoformat(), "where": where})
        self.effect(f"mail/{message_id} deliver")

    @property
    def public(self) -> PublicDns:
        """The zones as the world sees them."""
        return self.public_dns or self.dns

    # ---------------------------------------------------------------------------------------------- state

    def state(self) -> dict[str, Any]:
        """What a rehearsal compares: no times, no GUIDs, no ids that a run draws; sorted."""
        return {
            "mailboxes": {
                address: {"mailbox": mailbox.is_mailbox, "target": mailbox.target_address, "items": mailbox.items,
                          "aliases": sorted(mailbox.aliases), "hidden": mailbox.hidden,
                          "own_x500": f"x500:{mailbox.legacy_dn}".lower().encode() in {
                              value.lower() for value in mailbox.entry.attributes.get("proxyAddresses", ())}}
                for address, mailbox in sorted(self.mailboxes.items())},
            "dns": self.public.state(),
            "delivered": sorted((each["message_id"], each["recipient"], each["where"]) for each in self.delivered),
        }


def _bare(value: str) -> str:
    return (value[5:] if value[:5].lower() == "smtp:" else value).lower()


def _account_name(user: str) -> str:
    return user.rpartition("\\")[2].partition("@")[0].lower()


def _primary(entry: DirectoryObject) -> str:
    """The address under which the organisation knows an object: `mail`, which a conversion keeps."""
    return (entry.text("mail") or "").lower()
