"""The nouns of the tenant and of its migration service. Plain state: `tenant.py` and `migration.py` move it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime

from engine.lab.facts import ServiceError


@dataclass(slots=True)
class Domain:
    """verification: text of the TXT record. accepted: Exchange Online knows it (some minutes after verification)."""

    name: str
    verification: str
    mx_host: str
    root: bool = True
    verified: bool = False
    accepted: bool = False
    initial: bool = False
    #: Managed, or Federated: its people sign in at the organisation's own service (AD FS)
    authentication: str = "Managed"


@dataclass(slots=True)
class Recipient:
    """One directory object of the cloud. kind: User, MailUser, UserMailbox, MailContact or a MailUniversal…Group."""

    address: str
    name: str
    alias: str
    kind: str
    details: str
    id: str
    guid: str
    legacy_dn: str
    proxies: list[str]
    created: datetime
    synced: bool = False
    external: str | None = None
    usage_location: str | None = None
    licences: dict[str, list[str]] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    items: int = 0
    size_bytes: int = 0
    disabled: bool = False
    #: sign-in name; "" is the primary address
    upn: str = ""
    #: when its person last did something in it
    used: datetime | None = None
    #: SKU id → since when, for what takes effect later
    licensed: dict[str, datetime] = field(default_factory=dict)

    @property
    def is_mailbox(self) -> bool:
        return self.kind == "UserMailbox" and not self.disabled

    @property
    def is_user(self) -> bool:
        return self.kind in ("User", "MailUser", "UserMailbox")

    @property
    def is_group(self) -> bool:
        return self.kind.endswith("Group")

    @property
    def routing_address(self) -> str:
        """The address below the tenant's own domain, by which the source forwards."""
        return next((p[5:] for p in self.proxies if p.startswith("smtp:") and ".onmicrosoft." in p), self.address)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the trace, headers only. status: Delivered, Failed (`detail` says why), or Expanded for a group.

    outbound: it left the tenant.
    """

    message_id: str
    sender: str
    recipient: str
    subject: str
    at: datetime
    trace_id: str
    status: str = "Delivered"
    detail: str = ""
    outbound: bool = False


@dataclass(slots=True)
class Sku:
    id: str
    part_number: str
    seats: int


@dataclass(slots=True)
class Endpoint:
    """A migration endpoint of type ExchangeOutlookAnywhere. The password goes in and never comes out."""

    name: str
    guid: str
    account: str
    password: str = field(repr=False)
    created: datetime
    modified: datetime
    #: EndpointType: ExchangeOutlookAnywhere or IMAP
    type: str = "ExchangeOutlookAnywhere"
    autodiscover: bool = False
    exchange_server: str | None = None
    rpc_proxy_server: str | None = None
    nspi_server: str | None = None
    email_address: str | None = None
    test_mailbox: str | None = None
    legacy_dn: str | None = None
    authentication: str = "Basic"
    mailbox_permission: str = "Admin"
    untrusted: bool = False
    max_migrations: int = 20
    max_incremental: int = 20
    active: int = 0
    queue: deque[tuple[MigrationUser, int]] = field(default_factory=deque, repr=False)


@dataclass(slots=True, eq=False)
class MigrationUser:
    """turn: grows whenever what was planned for this user no longer holds (stopped, removed)."""

    address: str
    batch: Batch
    guid: str
    kind: str = "Mailbox"
    status: str = "Stopped"
    error: ServiceError | None = None
    items: int = 0
    skipped: int = 0
    size_bytes: int = 0
    last_success: datetime | None = None
    queued: datetime | None = None
    #: when its copy began
    copying: datetime | None = None
    attempts: int = 0
    turn: int = 0
    provisioned: bool = False
    holds_slot: bool = False


@dataclass(slots=True, eq=False)
class Batch:
    """counts: users by status, kept up to date. turn: as for a user. touched: last act of an administrator."""

    name: str
    guid: str
    kind: str  # cutover | staged
    endpoint: Endpoint
    created: datetime
    touched: datetime
    status: str = "Created"
    users: list[MigrationUser] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    notification_emails: list[str] = field(default_factory=list)
    report_interval: str = "1.00:00:00"
    started: datetime | None = None
    initial_sync: datetime | None = None
    last_synced: datetime | None = None
    warnings: list[str] = field(default_factory=list)
    turn: int = 0
