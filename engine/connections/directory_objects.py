"""What the source's directory shows, in our words: recipients, servers, and the attributes a conversion saves.

Attribute values are bytes as on the wire. Names follow Microsoft's articles "Convert Exchange 2003 mailboxes" and
"Convert Exchange 2007 mailboxes to mail-enabled users".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

Values: TypeAlias = tuple[bytes, ...]
#: Every attribute of one object that was asked for and is there, by its name as asked.
Attributes: TypeAlias = Mapping[str, Values]

#: What a conversion removes, whatever of it exists.
REMOVED = (
    "homeMDB", "homeMTA", "msExchHomeServerName", "mDBUseDefaults", "mDBStorageQuota", "mDBOverQuotaLimit",
    "mDBOverHardQuotaLimit", "msExchMailboxSecurityDescriptor", "msExchUserAccountControl",
    "msExchMailboxTemplateLink", "msExchPoliciesIncluded", "msExchUserCulture", "msExchUMEnabledFlags",
    "msExchUMTemplateLink", "msExchUMRecipientDialPlanLink", "msExchArchiveGUID", "msExchArchiveName",
    "msExchArchiveQuota", "msExchArchiveWarnQuota", "msExchRBACPolicyLink", "msExchMobileMailboxFlags",
    "msExchELCMailboxFlags", "garbageCollPeriod", "deletedItemFlags", "msExchWhenMailboxCreated")
#: What it sets.
SET = ("targetAddress", "proxyAddresses", "msExchPoliciesExcluded", "msExchMailboxGuid",
       "msExchRecipientTypeDetails", "msExchRecipientDisplayType")
#: What it keeps, and what mail-disabling by other tools is known to touch: saved all the same.
KEPT = (
    "mail", "mailNickname", "legacyExchangeDN", "displayName", "displayNamePrintable", "showInAddressBook",
    "textEncodedORAddress", "msExchHideFromAddressLists", "msExchVersion", "publicDelegates", "authOrig", "unauthOrig",
    "altRecipient", "deliverAndRedirect", "adminDisplayName", "autoReplyMessage", "delivContLength",
    "submissionContLength", "dLMemDefault", "dLMemRejectPerms", "dLMemSubmitPerms", "folderPathname",
    "internetEncoding", "mAPIRecipient", "msExchADCGlobalNames", "msExchControllingZone",
    "msExchExpansionServerName", "msExchFBURL", "msExchRecipLimit", "msExchResourceGUID", "msExchALObjectVersion",
    "msExchMasterAccountSid", "msExchRequireAuthToSendTo", "msExchRemoteRecipientType", "protocolSettings",
    "securityProtocol", "userAccountControl", *(f"extensionAttribute{number}" for number in range(1, 16)))
BACKUP = (*REMOVED, *SET, *KEPT)

LISTED = ("mail", "proxyAddresses", "targetAddress", "homeMDB", "objectGUID", "legacyExchangeDN", "msExchMailboxGuid",
          "msExchHideFromAddressLists", "uSNChanged", "msExchRecipientTypeDetails", "msExchMasterAccountSid",
          "displayName", "msExchHomeServerName", "cn", "whenCreated")

#: msExchRecipientTypeDetails of mailboxes (Exchange 2007 and later).
_TYPES = {1: "user", 2: "user", 4: "shared", 8: "user", 16: "room", 32: "equipment"}
#: … and of what Exchange keeps for itself: system attendant, system, Microsoft Exchange, arbitration, discovery,
#: public folder, monitoring and audit log mailboxes (Microsoft's list of RecipientTypeDetails).
SYSTEM_TYPES = frozenset({8192, 16384, 524288, 8388608, 536870912, 68719476736, 549755813888, 4398046511104})
_SYSTEM = re.compile(r"(SystemMailbox|HealthMailbox|DiscoverySearchMailbox|FederatedEmail|Migration|SMO-)[{.-]?",
                     re.IGNORECASE)
_SYSTEM_NAME = re.compile(r"\{[0-9a-f-]{36}\}|[0-9a-f-]{32,36}|\.[0-9a-f-]{36}", re.IGNORECASE)
#: First words of `serialNumber` by release ("Version 6.5 (Build 7638.2: Service Pack 2)").
_RELEASES = {"6.0": "2000", "6.5": "2003", "8": "2007", "14": "2010", "15.0": "2013", "15.1": "2016", "15.2": "2019"}


class Modification(NamedTuple):
    """One change of one attribute (RFC 4511, section 4.6). `delete` without values removes the attribute."""

    verb: Literal["add", "delete", "replace"]
    attribute: str
    values: Values = ()


@dataclass(frozen=True, slots=True)
class SourceRecipient:
    """One mailbox of the source, or the mail user it was converted into.

    address        primary SMTP address, lower case      target_address  "SMTP:…", address lower case; None: none
    proxies        as in the directory, sorted           guid            objectGUID; mailbox_guid: msExchMailboxGuid
    server         host name of its Exchange server, lower case, "" for a mail user
    type           user, shared, room, equipment
    """

    address: str
    dn: str
    guid: str
    name: str
    proxies: tuple[str, ...]
    target_address: str | None
    is_mailbox: bool
    mail: str
    legacy_dn: str
    mailbox_guid: str | None
    hidden: bool
    usn: int
    type: str
    server: str = ""
    created: datetime | None = None

    @property
    def domains(self) -> frozenset[str]:
        """The mail domains of all its SMTP addresses."""
        smtp = (proxy[5:] for proxy in (f"SMTP:{self.address}", *self.proxies) if proxy[:5].lower() == "smtp:")
        return frozenset(address.lower().rpartition("@")[2] for address in smtp)


@dataclass(frozen=True, slots=True)
class ExchangeServer:
    """One Exchange server of the forest. release: 2003, 2007 …, or the version's own words when it is not known."""

    name: str
    host: str
    release: str
    version: str
    legacy_dn: str
    dn: str = ""

    def __str__(self) -> str:
        return f"{self.host or self.name} ({self.release})"


@dataclass(frozen=True, slots=True)
class Uses:
    """What else lives in an Exchange organisation: addresses of mail-enabled public folders, names of connectors."""

    public_folders: tuple[str, ...]
    send_connectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """A sign-in account. The ends are None where the directory sets none."""

    dn: str
    enabled: bool
    locked: bool
    password_ends: datetime | None
    account_ends: datetime | None


#: Asked of an account; the last two only where the domain computes them (2008 and later).
ACCOUNT = ("userAccountControl", "lockoutTime", "pwdLastSet", "accountExpires",
           "msDS-User-Account-Control-Computed", "msDS-UserPasswordExpiryTimeComputed")
#: Bits of userAccountControl ("UserAccountControl property flags").
_DISABLED, _LOCKED, _NEVER_EXPIRES = 0x2, 0x10, 0x10000
#: FILETIME: ticks of 100 ns since 1601; two values mean "never".
_1601 = datetime(1601, 1, 1, tzinfo=UTC)
_NEVER = frozenset({0, 0x7FFF_FFFF_FFFF_FFFF})


@dataclass(frozen=True, slots=True)
class ExchangeOrganisation:
    """The Exchange organisation of the forest: what a migration pins as its source."""

    name: str
    guid: str


def recipient_of(dn: str, found: Attributes, servers: Mapping[str, ExchangeServer],
                 otherwise: str = "") -> SourceRecipient | None:
    """From an entry with LISTED; None for what Exchange keeps for itself, and for what has no address: `otherwise`
    is the one by which it is known all the same."""
    name = text(found, "displayName") or text(found, "cn")
    if is_system(found):
        return None
    proxies = tuple(sorted(each.decode("utf-8", "replace") for each in found.get("proxyAddresses", ())))
    mail = text(found, "mail")
    address = next((each[5:] for each in proxies if each.startswith("SMTP:")), mail or otherwise).lower()
    if not address:
        return None
    home = text(found, "msExchHomeServerName").lower()
    details = int(text(found, "msExchRecipientTypeDetails") or 0)
    # Before 2007 a shared or resource mailbox is one whose disabled account has an associated one.
    kind = _TYPES.get(details, "shared" if not details and found.get("msExchMasterAccountSid") else "user")
    return SourceRecipient(
        address=address, dn=dn, guid=guid_text(found["objectGUID"][0]), name=name, proxies=proxies,
        target_address=target(text(found, "targetAddress")), is_mailbox=bool(found.get("homeMDB")), mail=mail,
        legacy_dn=text(found, "legacyExchangeDN"),
        mailbox_guid=guid_text(found["msExchMailboxGuid"][0]) if found.get("msExchMailboxGuid") else None,
        hidden=text(found, "msExchHideFromAddressLists") == "TRUE", usn=int(text(found, "uSNChanged") or 0), type=kind,
        server=servers[home].host if home in servers else home.rpartition("cn=")[2],
        created=generalized_time(text(found, "whenCreated")))


def account_of(dn: str, found: Attributes, password_age_max: int) -> Account:
    """From an entry with ACCOUNT. `password_age_max`: maxPwdAge of the domain, a negative number of ticks or 0."""
    flags = int(text(found, "userAccountControl") or 0)
    computed = text(found, "msDS-User-Account-Control-Computed")
    locked = bool(int(computed) & _LOCKED) if computed else int(text(found, "lockoutTime") or 0) > 0
    ends = filetime(text(found, "msDS-UserPasswordExpiryTimeComputed"))
    changed = filetime(text(found, "pwdLastSet"))
    if ends is None and changed is not None and password_age_max and not flags & _NEVER_EXPIRES:
        ends = changed - timedelta(microseconds=password_age_max // 10)
    return Account(dn, not flags & _DISABLED, locked, None if flags & _NEVER_EXPIRES else ends,
                   filetime(text(found, "accountExpires")))


def filetime(ticks: str) -> datetime | None:
    """A FILETIME attribute; None for none and for "never"."""
    number = int(ticks or 0)
    return None if number in _NEVER or number < 0 else _1601 + timedelta(microseconds=number // 10)


def generalized_time(value: str) -> datetime | None:
    """`20261102070000.0Z` (RFC 4517, section 3.3.13, as Active Directory writes it); None where there is none."""
    return datetime.strptime(value[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC) if value else None


def left_behind(found: Attributes) -> str:
    """What kind of object that no cutover moves it is: a key of the census; "" for one that is moved."""
    classes = {each.decode("utf-8", "replace").lower() for each in found.get("objectClass", ())}
    if "publicfolder" in classes:
        return "public_folder"
    if "msexchdynamicdistributionlist" in classes:
        return "dynamic_group"
    if "msexchsystemmailbox" in classes or is_system(found):
        return "system"
    if found.get("mailNickname") or found.get("mail") or found.get("homeMDB"):
        return ""
    return "contact" if "contact" in classes else "user" if "user" in classes and "computer" not in classes else ""


def is_system(found: Attributes) -> bool:
    """Whether Exchange keeps this mailbox for itself: by its type (2010 and later), else by its name."""
    details, name = int(text(found, "msExchRecipientTypeDetails") or 0), text(found, "cn")
    return details in SYSTEM_TYPES or bool(_SYSTEM.match(name) and _SYSTEM_NAME.search(name))


def server_of(found: Attributes, dn: str = "") -> ExchangeServer:
    """From an entry of class msExchExchangeServer."""
    version = text(found, "serialNumber")
    number = (re.search(r"\d+\.\d+", version) or [""])[0]
    release = _RELEASES.get(number) or _RELEASES.get(number.partition(".")[0]) or version
    networks = [each.decode("utf-8", "replace") for each in found.get("networkAddress", ())]
    named = next((each.partition(":")[2] for each in networks if each.startswith("ncacn_ip_tcp:")), "")
    return ExchangeServer(text(found, "cn"), named.lower(), release, version, text(found, "legacyExchangeDN"), dn)


def text(found: Attributes, name: str) -> str:
    """The first value, "" where there is none."""
    values = found.get(name) or (b"",)
    return values[0].decode("utf-8", "replace")


def target(address: str) -> str | None:
    """A targetAddress as compared: `SMTP:` and the address in lower case; another type as it is; None for none."""
    if not address:
        return None
    kind, colon, rest = address.partition(":")
    if not colon:
        kind, rest = "SMTP", address
    return f"SMTP:{rest.lower()}" if kind.upper() == "SMTP" else address


def guid_text(value: bytes) -> str:
    """A GUID attribute as text. Raises ValueError when it is not 16 bytes."""
    return str(UUID(bytes_le=value))

