"""What Exchange Online's listings show, in our words: users, batches, endpoints, recipients, groups, trace rows.

Statuses are the service's own; `state` is the rung of our ladder they mean ("Manage migration batches", "Migration
users status report"). Output properties are not in the cmdlet reference; these were seen in use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from engine.connections.answers import shaped

T = TypeVar("T")

#: Rungs of a copy; a failed or stopped user stands on none of them.
SYNC_LADDER = ("absent", "queued", "syncing", "synced")
#: Rungs of a batch; one that is being removed stands on none.
BATCH_LADDER = ("created", "started")
#: "The 100 migration batches limit" (Exchange Team Blog).
BATCHES_MAX = 100
RECIPIENT_LADDER = ("recipient", "mail_user", "mailbox")

_USER_STATE = {
    "synced": ("Synced", "IncrementalSyncing", "IncrementalSynced", "Completing", "CompletionSynced", "Completed",
               "CompletedWithWarnings"),
    "syncing": ("Starting", "Syncing", "Provisioning", "ProvisionUpdating"),
    "queued": ("Validating", "Queued"),
    "failed": ("Failed", "IncrementalFailed", "CompletionFailed", "Corrupted"),
    "stopped": ("Stopping", "Stopped", "IncrementalStopped", "Removing"),
}
_USER_STATES = {status.lower(): state for state, statuses in _USER_STATE.items() for status in statuses}

_BATCH_STATE = {
    # Stopped: the newer admin centre shows a batch that never started so. Failed and Corrupted have not started well.
    "created": ("Created", "Stopping", "Stopped", "Failed", "Corrupted"),
    "started": ("Waiting", "Starting", "Syncing", "Synced", "SyncedWithErrors", "IncrementalSyncing", "Completing",
                "Completed", "CompletedWithErrors"),
    "removing": ("Removing",),
}
_BATCH_STATES = {status.lower(): state for state, statuses in _BATCH_STATE.items() for status in statuses}

#: days, hours, minutes, seconds; fractions are let go
_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class MigrationUser:
    """One mailbox as the migration service sees it. `error` is the service's text, whole."""

    address: str
    identity: str
    batch: str
    status: str
    state: str
    error: str
    items: int
    skipped: int
    last_success: datetime | None
    raw: Mapping[str, Any] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class MigrationBatch:
    """One batch. `count` is the number of users the service read from its CSV or from the source."""

    name: str
    status: str
    state: str
    endpoint: str
    count: int
    last_synced: datetime | None
    error: str = ""
    created: datetime | None = None
    started: datetime | None = None
    initial_synced: datetime | None = None
    raw: Mapping[str, Any] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class MigrationConfig:
    """What the tenant allows now (Get-MigrationConfig): a further batch, a cutover, how many batches at most."""

    can_submit: bool
    supports_cutover: bool
    batches_max: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One migration endpoint; names lower case. The password is never shown by the service."""

    name: str
    type: str
    exchange_server: str
    rpc_proxy_server: str
    account: str
    autodiscover: bool
    max_concurrent_migrations: int
    max_concurrent_incremental_syncs: int
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient. `type` is a rung of RECIPIENT_LADDER; `routing_address` its address in the tenant's own domain."""

    address: str
    type: str
    details: str
    routing_address: str | None
    guid: str | None
    legacy_dn: str | None
    proxies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One group. type: security (mail-enabled security group) or distribution."""

    address: str
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One message's arrival at one recipient. status: Delivered, Failed, Pending …"""

    message_id: str
    recipient: str
    status: str
    received: datetime
    trace_id: str = ""


@shaped("exchange_online")
def user_of(raw: Mapping[str, Any]) -> MigrationUser:
    """From Get-MigrationUser. The identity may have the mailbox GUID behind the address (help PR 8187)."""
    identity = _text(raw, "Identity")
    address = (_text(raw, "MailboxEmailAddress") or _text(raw, "EmailAddress") or identity).partition("/")[0]
    status = _text(raw, "Status")
    return MigrationUser(address.lower(), identity or address, _text(raw, "BatchId"), status,
                         _USER_STATES.get(status.lower(), "queued"),
                         _text(raw, "ErrorSummary") or _text(raw, "Error"), _number(raw, "SyncedItemCount"),
                         _number(raw, "SkippedItemCount"), moment(raw.get("LastSuccessfulSyncTime")), raw)


@shaped("exchange_online")
def batch_of(raw: Mapping[str, Any]) -> MigrationBatch:
    """From Get-MigrationBatch."""
    status = _text(raw, "Status")
    return MigrationBatch(_text(raw, "Identity") or _text(raw, "Name"), status,
                          _BATCH_STATES.get(status.lower(), "started"), _text(raw, "SourceEndpoint"),
                          _number(raw, "TotalCount"), moment(raw.get("LastSyncedDateTime")),
                          _text(raw, "Message"), moment(raw.get("CreationDateTime")),
                          moment(raw.get("StartDateTime")), moment(raw.get("InitialSyncDateTime")), raw)


@shaped("exchange_online")
def config_of(raw: Mapping[str, Any]) -> MigrationConfig:
    """From Get-MigrationConfig. A limit it does not name is the documented one."""
    return MigrationConfig(_true(raw.get("CanSubmitNewBatch")), _true(raw.get("SupportsCutover")),
                           _number(raw, "MaxNumberOfBatches") or BATCHES_MAX)


@shaped("exchange_online")
def endpoint_of(raw: Mapping[str, Any]) -> Endpoint:
    """From Get-MigrationEndpoint."""
    return Endpoint(_text(raw, "Identity") or _text(raw, "Name"), _text(raw, "EndpointType"),
                    _text(raw, "ExchangeServer").lower(), _text(raw, "RpcProxyServer").lower(),
                    _text(raw, "Username").lower(), _true(raw.get("UseAutoDiscover")),
                    _number(raw, "MaxConcurrentMigrations"), _number(raw, "MaxConcurrentIncrementalSyncs"),
                    moment(raw.get("LastModifiedTime")))


def by_name(listing: Mapping[str, T], name: str) -> T | None:
    """The object of exactly this name in a listing of all; the service tells names apart regardless of case.

    Never asked of the service by name: an identity it does not know may be answered with every object.
    """
    found = listing.get(name)
    if found is None:
        folded = name.lower()
        found = next((each for key, each in listing.items() if key.lower() == folded), None)
    return found


@shaped("exchange_online")
def group_of(raw: Mapping[str, Any]) -> Group:
    """From Get-DistributionGroup. GroupType reads "Universal, SecurityEnabled" for a security group."""
    security = "security" in (_text(raw, "GroupType") + _text(raw, "RecipientTypeDetails")).lower()
    return Group(_text(raw, "PrimarySmtpAddress").lower(), _text(raw, "DisplayName") or _text(raw, "Name"),
                 "security" if security else "distribution")


@shaped("exchange_online")
def recipient_of(raw: Mapping[str, Any], cmdlet: str, tenant_domain: str) -> Recipient | None:
    """From Get-Recipient, Get-MailUser or Get-Mailbox; None for one without an SMTP address."""
    proxies = tuple(str(each)[5:].lower() for each in _list(raw.get("EmailAddresses"))
                    if str(each).lower().startswith("smtp:"))
    address = _text(raw, "PrimarySmtpAddress").lower()
    if not address:
        return None
    details = _text(raw, "RecipientTypeDetails") or _text(raw, "RecipientType")
    kind = {"Get-Mailbox": "mailbox", "Get-MailUser": "mail_user"}.get(cmdlet) or _rung(details)
    guid = _text(raw, "ExchangeGuid").lower().strip("{}")
    return Recipient(address, kind, details, _routing_address(proxies, tenant_domain),
                     None if not guid or guid.startswith("00000000-0000") else guid,
                     _text(raw, "LegacyExchangeDN") or None, proxies)


@shaped("exchange_online")
def trace_row_of(raw: Mapping[str, Any], fallback: datetime) -> TraceRow:
    """From Get-MessageTraceV2."""
    message_id = _text(raw, "MessageId")
    if message_id and not message_id.startswith("<"):
        message_id = f"<{message_id}>"
    return TraceRow(message_id, _text(raw, "RecipientAddress").lower(), _text(raw, "Status"),
                    moment(raw.get("Received")) or fallback, _text(raw, "MessageTraceId"))


def moment(text: Any) -> datetime | None:
    """A time as Graph and Exchange write it, in UTC; None for none. Times without zone are UTC."""
    if not isinstance(text, str) or not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def span(text: Any) -> timedelta | None:
    """A TimeSpan as .NET writes it ("02:03:04", "1.02:03:04.5000000"); None for none."""
    found = _TIMESPAN.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def byte_array(data: bytes) -> dict[str, Any]:
    """Bytes as the official module puts them on the wire: an array of numbers."""
    return {"@odata.type": "#Exchange.ByteArrayType", "Data": list(data)}


def _rung(details: str) -> str:
    """A group's mailbox is not a person's, and an arbitration mailbox is nobody's."""
    lower = details.lower()
    if lower in ("mailuser", "guestmailuser"):
        return "mail_user"
    return "mailbox" if lower.endswith("mailbox") and not lower.startswith("group") else "recipient"


def _routing_address(proxies: Sequence[str], tenant_domain: str) -> str | None:
    """The address at contoso.onmicrosoft.com (or contoso.mail.onmicrosoft.com), which always routes to the cloud."""
    inner = tenant_domain.replace(".onmicrosoft.com", ".mail.onmicrosoft.com")
    for domain in (tenant_domain, inner, "onmicrosoft.com"):
        for address in proxies:
            if address.endswith(("@" + domain, "." + domain if domain == "onmicrosoft.com" else "@" + domain)):
                return address
    return None


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return "" if value is None else str(value).strip()


def _number(raw: Mapping[str, Any], name: str) -> int:
    return int(raw.get(name) or 0)


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ([] if value is None else [value])


def _true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
