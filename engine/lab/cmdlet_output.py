"""What cmdlets write: objects as Exchange Online's REST answers flatten them, cut and filtered as asked.

Sources of the properties: migration-service notes, section 1 (several only [seen]); property sets page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.lab.facts import ServiceError
from engine.lab.migration import SUMMARY
from engine.lab.objects import Batch, Endpoint, Message, Recipient

RESULT_SIZE = 1000
#: The "Minimum" set of the Get-EXO… cmdlets (page: Property sets in Exchange Online PowerShell module cmdlets).
MINIMUM = ("ExternalDirectoryObjectId", "UserPrincipalName", "Alias", "DisplayName", "EmailAddresses",
           "PrimarySmtpAddress", "RecipientType", "RecipientTypeDetails", "Identity", "Id", "Guid", "Name",
           "DistinguishedName", "ExchangeVersion", "OrganizationId")


@dataclass
class Output:
    """Objects a cmdlet writes, rendered only when a page shows them; warnings; or a question instead of an act."""

    rows: Sequence[Any] = ()
    render: Callable[[Any], dict[str, Any]] = dict
    warnings: list[str] = field(default_factory=list)
    confirmation: str = ""


def limit(output: Output, asked: Any, name: str) -> None:
    if str(asked).lower() == "unlimited":
        return
    limit = RESULT_SIZE if asked is None else int(asked)
    if len(output.rows) > limit:
        output.rows = output.rows[:limit]
        output.warnings.append(f"There are more results available than are currently displayed. To view them, "
                               f"increase the value for the ResultSize parameter of {name}.")


def reduced(output: Output, given: Mapping[str, Any]) -> Output:
    sets = {each.lower() for each in given.get("PropertySets") or ()}
    if sets - {"minimum", "all"}:
        raise ServiceError("System.NotImplementedException", "The lab knows the property sets Minimum and All.")
    if "all" not in sets:
        names = {*MINIMUM, *(given.get("Properties") or ())}
        lower, render = {each.lower() for each in names}, output.render
        output.render = lambda row: {name: value for name, value in render(row).items() if name.lower() in lower}
    return output


def filtered(rows: Sequence[Recipient], text: str, render: Callable[[Recipient], dict[str, Any]]) -> list[Recipient]:
    """OPATH, as far as the lab goes: one comparison with -eq or -ne."""
    found = re.fullmatch(r"\s*\(?\s*(\w+)\s+-(eq|ne)\s+[\"']?([^\"']*)[\"']?\s*\)?\s*", str(text), re.IGNORECASE)
    if not found:
        raise ServiceError("System.NotImplementedException", f"The lab does not understand the filter {text!r}.")
    name, how, value = found[1].lower(), found[2].lower(), found[3].lower().removeprefix("$")
    kept = []
    for row in rows:
        shown = {key.lower(): each for key, each in render(row).items()}
        if name not in shown:
            raise ServiceError("Microsoft.Exchange.Configuration.Tasks.InvalidFilterException",
                               f"'{found[1]}' is not a recognized filterable property.")
        values = shown[name] if isinstance(shown[name], list) else [shown[name]]
        equal = any(str(each).lower().removeprefix("smtp:") == value.removeprefix("smtp:") for each in values)
        if equal == (how == "eq"):
            kept.append(row)
    return kept


def endpoint_row(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "Identity": endpoint.name, "Guid": endpoint.guid, "EndpointType": endpoint.type,
        "ExchangeServer": endpoint.exchange_server, "RpcProxyServer": endpoint.rpc_proxy_server,
        "NspiServer": endpoint.nspi_server, "UseAutoDiscover": endpoint.autodiscover, "Username": endpoint.account,
        "Authentication": endpoint.authentication, "MailboxPermission": endpoint.mailbox_permission,
        "SourceMailboxLegacyDN": endpoint.legacy_dn, "TestMailbox": endpoint.test_mailbox,
        "EmailAddress": endpoint.email_address, "AcceptUntrustedCertificates": endpoint.untrusted,
        "MaxConcurrentMigrations": str(endpoint.max_migrations),
        "MaxConcurrentIncrementalSyncs": str(endpoint.max_incremental), "ActiveMigrationCount": endpoint.active,
        "CreationTime": when(endpoint.created), "LastModifiedTime": when(endpoint.modified),
    }


def batch_row(batch: Batch, report: bool) -> dict[str, Any]:
    summary: dict[str, int] = {}
    for status, count in batch.counts.items():
        summary[SUMMARY[status]] = summary.get(SUMMARY[status], 0) + count
    skipped = any(user.skipped for user in batch.users)
    row = {
        "Identity": batch.name, "BatchGuid": batch.guid, "Status": batch.status, "State": batch.status,
        "MigrationType": batch.endpoint.type, "BatchDirection": "Onboarding",
        "SourceEndpoint": batch.endpoint.name, "TargetEndpoint": None, "TotalCount": len(batch.users),
        "ActiveCount": summary.get("Active", 0), "PendingCount": batch.counts["Queued"] + batch.counts["Validating"],
        "ProvisionedCount": sum(user.provisioned or user.items > 0 for user in batch.users),
        "SyncedCount": summary.get("Synced", 0), "FinalizedCount": 0, "StoppedCount": summary.get("Stopped", 0),
        "FailedCount": summary.get("Failed", 0), "CreationDateTime": when(batch.created),
        "CreationDateTimeUTC": when(batch.created), "StartDateTime": when(batch.started),
        "StartDateTimeUTC": when(batch.started), "InitialSyncDateTime": when(batch.initial_sync),
        "InitialSyncDateTimeUTC": when(batch.initial_sync), "LastSyncedDateTime": when(batch.last_synced),
        "LastSyncedDateTimeUTC": when(batch.last_synced), "SubmittedByUser": "app", "CompleteAfter": None,
        "NotificationEmails": list(batch.notification_emails), "ReportInterval": batch.report_interval,
        "ValidationWarnings": [], "NumValidationWarnings": 0,
        "DataConsistencyScore": "Good" if skipped else "Perfect", "Report": None,
    }
    if report:
        row["Report"] = f"Migration batch '{batch.name}': {batch.status}, {len(batch.users)} users."
    return row


def trace_row(message: Message) -> dict[str, Any]:
    return {"MessageTraceId": message.trace_id, "MessageId": message.message_id, "Received": when(message.at),
            "SenderAddress": message.sender, "RecipientAddress": message.recipient, "Subject": message.subject,
            "Status": message.status, "FromIP": "127.0.0.1", "ToIP": None, "Size": 4096}


def size_text(size: int) -> str:
    """A ByteQuantifiedSize as Exchange writes it: "1.2 GB (1,288,490,188 bytes)"."""
    value, unit = float(size), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit} ({size:,} bytes)"


def duration_text(span: timedelta) -> str:
    """A TimeSpan as .NET writes it: days only where there are any ("1.02:03:04")."""
    seconds = int(span.total_seconds())
    days = f"{seconds // 86_400}." if seconds >= 86_400 else ""
    return f"{days}{seconds % 86_400 // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


def when(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None


def moment(text: Any) -> datetime:
    """A date without a zone is UTC (trap 10)."""
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(text)).replace("Z", "+00:00"))
    except ValueError:
        raise ServiceError("System.Management.Automation.ParameterBindingException",
                           f"Cannot convert value '{text}' to type System.DateTime.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def recipient_row(each: Recipient, organization: str) -> dict[str, Any]:
    return {
        "Identity": each.name, "Id": each.name, "Name": each.name, "DisplayName": each.name, "Alias": each.alias,
        "PrimarySmtpAddress": each.address, "EmailAddresses": list(each.proxies), "RecipientType": each.kind,
        "RecipientTypeDetails": each.details, "ExternalDirectoryObjectId": each.id, "Guid": each.id,
        "ExchangeGuid": each.guid if each.is_mailbox else "00000000-0000-0000-0000-000000000000",
        "LegacyExchangeDN": each.legacy_dn, "UserPrincipalName": each.address if each.is_user else None,
        "WindowsEmailAddress": each.address, "ExternalEmailAddress": each.external,
        "HiddenFromAddressListsEnabled": False, "IsDirSynced": each.synced, "WhenCreatedUTC": when(each.created),
        "DistinguishedName": f"CN={each.name},OU={organization},OU=Microsoft Exchange Hosted "
                             "Organizations,DC=EURPR01A001,DC=PROD,DC=OUTLOOK,DC=COM",
        "ExchangeVersion": "0.20 (15.0.0.0)", "OrganizationId": organization,
        "UsageLocation": each.usage_location,
        "GroupType": ("Universal, SecurityEnabled" if each.kind == "MailUniversalSecurityGroup" else "Universal")
        if each.is_group else None,
    }
