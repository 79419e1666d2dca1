"""The cmdlets: what Exchange Online PowerShell does with the tenant and its migration service, and what it answers.

A call is judged by the published signatures first (`facts`), then by the rules of its cmdlet. The same cmdlets
serve the REST endpoint and a person at the desk; only a person may hand in credentials.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from engine.lab import facts
from engine.lab.auto_replies import AutoReplies
from engine.lab.batch_csv import read_csv
from engine.lab.cmdlet_output import (
    RESULT_SIZE,
    Output,
    batch_row,
    duration_text,
    endpoint_row,
    filtered,
    limit,
    moment,
    recipient_row,
    reduced,
    size_text,
    trace_row,
    when,
)
from engine.lab.facts import ServiceError, migration_error
from engine.lab.migration import SUMMARY, TENANT_MIGRATIONS_MAX, Migration
from engine.lab.objects import Batch, Endpoint, MigrationUser, Recipient
from engine.lab.tenant import Tenant

TRACE_SIZE_MAX = 5000
EXEMPTION_DAYS_MAX = 90
#: Parameters of New-MigrationBatch that make sense for an Outlook Anywhere batch; others are refused as E10 words it.
BATCH_PARAMETERS = {"Name", "SourceEndpoint", "CSVData", "AutoStart", "NotificationEmails", "TimeZone",
                    "ReportInterval", "AllowUnknownColumnsInCsv", "SkipReports", "Confirm", "WhatIf", "Partition"}


@dataclass(frozen=True)
class Credential:
    """A PSCredential, which only a person can hand over."""

    user: str
    password: str = field(repr=False)


class Cmdlets:
    """All simulated cmdlets of one tenant."""

    def __init__(self, tenant: Tenant, migration: Migration) -> None:
        self.tenant = tenant
        self.migration = migration
        self.auto_replies = AutoReplies(tenant.organisation)

    def run(self, name: str, parameters: Mapping[str, Any], *, person: bool = False) -> Output:
        """Run one cmdlet. Raises ServiceError. Over REST (not `person`) credentials are refused, and a cmdlet that
        asks for confirmation does nothing until it is called with Confirm false."""
        cmdlet = facts.cmdlet(name)
        if not person:
            for given in parameters:
                kind = cmdlet.parameters.get(given, {}).get("type", "")
                if kind in ("PSCredential", "SecureString") or given.lower() in ("credentials", "credential"):
                    raise ServiceError("System.Management.Automation.ParameterBindingException",
                                       f"Cannot bind parameter '{given}': a {kind or 'PSCredential'} cannot be "
                                       "converted from the value that was sent.")
        bound = cmdlet.check(parameters)
        act: Callable[[dict[str, Any]], Output] | None = getattr(
            self, "_" + cmdlet.name.lower().replace("-", "_"), None)
        if act is None:
            raise ServiceError("System.NotImplementedException", f"The lab does not simulate {cmdlet.name}.")
        if bound.get("WhatIf"):
            return Output()
        if cmdlet.confirms and not person and bound.get("Confirm") is not False:
            return Output(confirmation=f"Are you sure you want to perform this action? {cmdlet.name} "
                                       f"\"{bound.get('Identity') or bound.get('Name') or ''}\"")
        refused = self.tenant.faults.refusal(f"exo {cmdlet.name}")
        if refused is not None:
            raise migration_error(refused, parameter="TargetDeliveryDomain", reason="it is empty",
                                  address="somebody@contoso.com", batch="another")
        output = act(bound)
        if "ResultSize" in cmdlet.parameters:
            limit(output, bound.get("ResultSize"), cmdlet.name)
        return output

    # ---------------------------------------------------------------------------------------------- endpoints

    def _get_migrationendpoint(self, given: dict[str, Any]) -> Output:
        shown = [e for e in self.migration.endpoints.values() if self.tenant.visible(f"endpoint/{e.name.lower()}")]
        if given.get("Identity") is not None:
            shown = [self._endpoint(given["Identity"])]
        if given.get("Type"):
            shown = [each for each in shown if each.type.lower() == given["Type"].lower()]
        return Output(shown, endpoint_row)

    def _new_migrationendpoint(self, given: dict[str, Any]) -> Output:
        if given.get("IMAP"):  # somebody's other migration: it takes a name, and a place in the tenant
            now = self.tenant.clock.now()
            other = Endpoint(given["Name"], self.tenant.identifier("endpoint", given["Name"]), "", "", now, now, "IMAP")
            self.migration.add_endpoint(other, verify=False)
            return Output([other], endpoint_row)
        if not given.get("ExchangeOutlookAnywhere"):
            raise ServiceError("System.NotImplementedException", "The lab simulates ExchangeOutlookAnywhere only.")
        if not given.get("Autodiscover") and not given.get("RpcProxyServer"):
            raise ServiceError("System.Management.Automation.ParameterBindingException",
                               "RpcProxyServer is needed when Autodiscover is not used.")
        credential: Credential = given["Credentials"]
        now = self.tenant.clock.now()
        endpoint = Endpoint(given["Name"], self.tenant.identifier("endpoint", given["Name"]), credential.user,
                            credential.password, now, now, autodiscover=bool(given.get("Autodiscover")))
        _settings(endpoint, given)
        if endpoint.autodiscover:
            source = self.tenant.organisation
            if source.exchange == "2003":  # has no Autodiscover
                raise migration_error("E02", address=endpoint.email_address)
            endpoint.rpc_proxy_server = source.mail_hosts[0]
            found = source.mailboxes.get(str(endpoint.email_address).lower())
            endpoint.exchange_server = found.server if found else None
        self.migration.add_endpoint(endpoint, verify=not given.get("SkipVerification"))
        return Output([endpoint], endpoint_row)

    def _set_migrationendpoint(self, given: dict[str, Any]) -> Output:
        endpoint = self._endpoint(given["Identity"])
        batch = self.migration.endpoint_in_use(endpoint, running=True)
        if batch is not None:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationEndpointInUseException",
                               f"'{endpoint.name}' can't be changed while batch '{batch.name}' runs.")
        before = {name: getattr(endpoint, name) for name in endpoint.__slots__}
        credential = given.get("Credentials")
        if credential is not None:
            endpoint.account, endpoint.password = credential.user, credential.password
        _settings(endpoint, given)
        try:
            self.migration.check_endpoint(endpoint)
            if not given.get("SkipVerification"):
                self.migration.reach(endpoint)
        except ServiceError:
            for name, value in before.items():
                setattr(endpoint, name, value)
            raise
        if all(getattr(endpoint, name) == value for name, value in before.items()):
            return Output(warnings=[f"The command completed successfully but no settings of '{endpoint.name}' "
                                    "have been modified."])
        endpoint.modified = self.tenant.clock.now()
        self.tenant.counters.effect(f"endpoint/{endpoint.name} change")
        return Output()

    def _remove_migrationendpoint(self, given: dict[str, Any]) -> Output:
        self.migration.remove_endpoint(self._endpoint(given["Identity"]))
        return Output()

    def _test_migrationserveravailability(self, given: dict[str, Any]) -> Output:
        now = self.tenant.clock.now()
        if given.get("Endpoint") is not None:
            endpoint = self._endpoint(given["Endpoint"])
        else:
            credential: Credential = given["Credentials"]
            endpoint = Endpoint("", "", credential.user, credential.password, now, now)
            _settings(endpoint, given | {"RpcProxyServer": given.get("RPCProxyServer")})
        result: dict[str, Any] = {"Result": "Success", "Message": "", "ErrorDetail": "", "IsValid": True,
                                  "SupportsCutover": not self.tenant.sync_enabled, "TestedEndpoint": endpoint.name,
                                  "ConnectionSettings": endpoint.rpc_proxy_server or "", "ObjectState": "New"}
        try:
            self.migration.reach(endpoint)
        except ServiceError as error:
            result |= {"Result": "Failed", "Message": error.text, "ErrorDetail": f"{error.kind}: {error.text}"}
        return Output([result])

    def _endpoint(self, name: str) -> Endpoint:
        found = self.migration.endpoints.get(str(name).lower())
        if found is None or not self.tenant.visible(f"endpoint/{found.name.lower()}"):
            raise not_found(f"The migration endpoint '{name}' couldn't be found.")
        return found

    # ------------------------------------------------------------------------------------------------ batches

    def _get_migrationbatch(self, given: dict[str, Any]) -> Output:
        shown = [b for b in self.migration.batches.values() if self.tenant.visible(f"batch/{b.name.lower()}")]
        if given.get("Identity") is not None:  # a null identity answers with every batch (trap 1)
            shown = [self._batch(given["Identity"])]
        if given.get("Status"):
            shown = [each for each in shown if each.status.lower() == str(given["Status"]).lower()]
        if given.get("Endpoint"):
            shown = [each for each in shown if each.endpoint.name.lower() == str(given["Endpoint"]).lower()]
        report = bool(given.get("IncludeReport"))
        return Output(shown, lambda batch: batch_row(batch, report))

    def _new_migrationbatch(self, given: dict[str, Any]) -> Output:
        for name in given:
            if name not in BATCH_PARAMETERS:
                raise migration_error("E10", parameter=name)
        name = given["Name"]
        if len(name) > 64 or not name.strip():
            raise ServiceError("Microsoft.Exchange.Migration.MigrationPermanentException",
                               "The name of a migration batch has 1 to 64 characters.")
        if not given.get("SourceEndpoint"):
            raise ServiceError("Microsoft.Exchange.Migration.MigrationPermanentException",
                               "A source endpoint is needed for this migration batch.")
        endpoint, now = self._endpoint(given["SourceEndpoint"]), self.tenant.clock.now()
        csv = given.get("CSVData")
        batch = Batch(name, self.tenant.identifier("batch", name, now.isoformat()),
                      "cutover" if csv is None else "staged", endpoint, now, now,
                      notification_emails=given.get("NotificationEmails") or [],
                      report_interval=str(given.get("ReportInterval") or "1.00:00:00"))
        addresses = () if csv is None else read_csv(csv, bool(given.get("AllowUnknownColumnsInCsv")))
        self.migration.add_batch(batch, addresses)
        if given.get("AutoStart"):
            self.migration.start(batch)
        return Output([batch], lambda batch: batch_row(batch, False))

    def _set_migrationbatch(self, given: dict[str, Any]) -> Output:
        batch = self._batch(given["Identity"])
        for name in given:
            if name not in ("Identity", "CSVData", "SyncNow", "Update", "NotificationEmails", "ReportInterval",
                            "AllowUnknownColumnsInCsv", "Confirm", "WhatIf", "ApproveSkippedItems"):
                raise ServiceError("System.NotImplementedException", f"The lab does not simulate -{name} here.")
        if given.get("CSVData") is not None:
            self.migration.replace_users(
                batch, read_csv(given["CSVData"], bool(given.get("AllowUnknownColumnsInCsv"))))
        if given.get("SyncNow"):
            self.migration.sync_now(batch)
        if given.get("NotificationEmails") is not None:
            batch.notification_emails = given["NotificationEmails"]
        batch.touched = self.tenant.clock.now()
        return Output()

    def _start_migrationbatch(self, given: dict[str, Any]) -> Output:
        self.migration.start(self._named_batch(given))
        return Output()

    def _stop_migrationbatch(self, given: dict[str, Any]) -> Output:
        self.migration.stop(self._named_batch(given))
        return Output()

    def _remove_migrationbatch(self, given: dict[str, Any]) -> Output:
        self.migration.remove(self._named_batch(given))
        return Output()

    def _complete_migrationbatch(self, given: dict[str, Any]) -> Output:
        raise ServiceError("Microsoft.Exchange.Migration.MigrationPermanentException",
                           "Complete-MigrationBatch isn't supported for Outlook Anywhere migration batches.")

    def _batch(self, name: str) -> Batch:
        found = self.migration.batches.get(str(name).lower())
        if found is None or not self.tenant.visible(f"batch/{found.name.lower()}"):
            raise ServiceError("Microsoft.Exchange.Migration.MigrationBatchNotFoundException",
                               f"The migration batch '{name}' couldn't be found.", 404, "NotFound")
        return found

    def _named_batch(self, given: dict[str, Any]) -> Batch:
        """Trap 2: without an identity the cmdlet takes "the batch currently processed"."""
        if given.get("Identity") is not None:
            return self._batch(given["Identity"])
        current = [each for each in self.migration.batches.values() if each.status != "Removing"]
        if not current:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationBatchNotFoundException",
                               "There is no migration batch.", 404, "NotFound")
        return current[-1]

    # -------------------------------------------------------------------------------------------------- users

    def _get_migrationuser(self, given: dict[str, Any]) -> Output:
        shown: Sequence[MigrationUser]
        if given.get("BatchId") is not None:
            shown = self._batch(given["BatchId"]).users
        elif given.get("Identity") is not None or given.get("EmailAddress") is not None:
            shown = [self._user(given.get("Identity") or given["EmailAddress"])]
        elif given.get("MailboxGuid") is not None:
            shown = [u for u in self.migration.users.values() if self._mailbox_guid(u) == given["MailboxGuid"].lower()]
        else:
            shown = list(self.migration.users.values())
        if given.get("Status"):
            shown = [each for each in shown if each.status.lower() == str(given["Status"]).lower()]
        if given.get("StatusSummary"):
            shown = [each for each in shown if SUMMARY[each.status].lower() == str(given["StatusSummary"]).lower()]
        return Output(shown, self._user_row)

    def _get_migrationuserstatistics(self, given: dict[str, Any]) -> Output:
        if given.get("Identity") is None:
            return Output(list(self.migration.users.values()), lambda user: self._statistics_row(user, given))
        return Output([self._user(given["Identity"])], lambda user: self._statistics_row(user, given))

    def _start_migrationuser(self, given: dict[str, Any]) -> Output:
        self.migration.start_user(self._user(given.get("Identity") or ""))
        return Output()

    def _stop_migrationuser(self, given: dict[str, Any]) -> Output:
        self.migration.stop_user(self._user(given.get("Identity") or ""))
        return Output()

    def _remove_migrationuser(self, given: dict[str, Any]) -> Output:
        self.migration.remove_user(self._user(given["Identity"]))
        return Output()

    def _user(self, identity: str) -> MigrationUser:
        found = self.migration.users.get(str(identity).partition("/")[0].lower())
        if found is None:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationUserNotFoundException",
                               f"The migration user '{identity}' couldn't be found.", 404, "NotFound")
        return found

    def _mailbox_guid(self, user: MigrationUser) -> str | None:
        found = self.tenant.recipients.get(user.address)
        return found.guid if found is not None and found.is_mailbox else None

    def _user_row(self, user: MigrationUser) -> dict[str, Any]:
        return {
            "Identity": user.address, "Guid": user.guid, "MailboxEmailAddress": user.address,
            "MailboxIdentifier": user.address, "BatchId": user.batch.name, "RecipientType": user.kind,
            "MailboxGuid": self._mailbox_guid(user), "Status": user.status, "State": user.status,
            "StatusSummary": SUMMARY[user.status], "SyncedItemCount": user.items, "SkippedItemCount": user.skipped,
            "ErrorSummary": user.error.text if user.error else None, "LastSuccessfulSyncTime": when(user.last_success),
            "TriggeredAction": "None", "WorkflowStage": "Sync", "WorkflowStep": "None",
        }

    def _statistics_row(self, user: MigrationUser, given: Mapping[str, Any]) -> dict[str, Any]:
        row = self._user_row(user) | {
            "Error": f"{user.error.kind.rsplit('.', 1)[-1]}: {user.error.text}" if user.error else None,
            "BytesTransferred": size_text(user.size_bytes), "EstimatedTotalTransferSize": size_text(user.size_bytes),
            "QueuedDuration": None, "InProgressDuration": None, "SyncedDuration": None,
            "StalledDuration": duration_text(self.migration.stalled(user)),
            "MigrationType": "ExchangeOutlookAnywhere", "SkippedItems": [],
            "DataConsistencyScore": "Good" if user.skipped else "Perfect",
        }
        if given.get("IncludeSkippedItems"):
            # A known defect: a count and no list (OfficeDocs-Exchange issue 2362).
            listed = user.skipped if self.tenant.faults.skipped.get(user.address, (0, True))[1] else 0
            limit = min(listed, int(given.get("LimitSkippedItemsTo") or user.skipped))
            row["SkippedItems"] = [{"Kind": "LargeItem", "FolderName": "Inbox", "Subject": f"Large item {n + 1}"}
                                   for n in range(limit)]
        if given.get("IncludeReport"):
            row["Report"] = f"Migration of '{user.address}': {user.status}, {user.items} items."
        return row

    def _get_migrationconfig(self, given: dict[str, Any]) -> Output:
        return Output([{
            "Identity": self.tenant.initial_domain, "MaxNumberOfBatches": self.tenant.batches_max,
            "MaxConcurrentMigrations": str(TENANT_MIGRATIONS_MAX), "Features": "MultiBatch",
            "CanSubmitNewBatch": len(self.migration.batches) < self.tenant.batches_max,
            "SupportsCutover": not self.tenant.sync_enabled}])

    # --------------------------------------------------------------------------------------------- recipients

    def _get_accepteddomain(self, given: dict[str, Any]) -> Output:
        shown = [each for each in self.tenant.domains.values() if each.accepted]
        if given.get("Identity") is not None:
            shown = [each for each in shown if each.name == str(given["Identity"]).lower()]
            if not shown:
                raise not_found(f"The operation couldn't be performed because object '{given['Identity']}' couldn't "
                                 "be found.")
        return Output(shown, lambda each: {
            "Name": each.name, "DomainName": each.name, "Identity": each.name, "DomainType": "Authoritative",
            "Default": each.initial, "InitialDomain": each.initial, "MatchSubDomains": False,
            "AuthenticationType": "Managed"})

    def _get_recipient(self, given: dict[str, Any]) -> Output:
        return self._recipients(given, lambda each: each.kind != "User")

    def _get_exorecipient(self, given: dict[str, Any]) -> Output:
        return reduced(self._get_recipient(given), given)

    def _get_mailbox(self, given: dict[str, Any]) -> Output:
        return self._recipients(given, lambda each: each.is_mailbox)

    def _get_exomailbox(self, given: dict[str, Any]) -> Output:
        return reduced(self._get_mailbox(given), given)

    def _get_mailuser(self, given: dict[str, Any]) -> Output:
        return self._recipients(given, lambda each: each.kind == "MailUser")

    def _get_distributiongroup(self, given: dict[str, Any]) -> Output:
        return self._recipients(given, lambda each: each.is_group)

    def _recipients(self, given: dict[str, Any], belongs: Callable[[Recipient], bool]) -> Output:
        for name in given:
            if name not in ("Identity", "PrimarySmtpAddress", "UserPrincipalName", "ExternalDirectoryObjectId",
                            "Filter", "RecipientType", "RecipientTypeDetails", "ResultSize", "Properties",
                            "PropertySets", "PropertySet", "SortBy"):
                raise ServiceError("System.NotImplementedException", f"The lab does not simulate -{name} here.")
        names = ("Identity", "PrimarySmtpAddress", "UserPrincipalName", "ExternalDirectoryObjectId")
        identity = next((given[name] for name in names if given.get(name) is not None), None)
        if identity is not None:
            found = self._find(identity)
            if found is None or not belongs(found):
                raise not_found(f"The operation couldn't be performed because object '{identity}' couldn't be found.")
            return Output([found], self._row)
        shown = [each for each in self.tenant.listed() if belongs(each)]
        for name, field_name in (("RecipientType", "kind"), ("RecipientTypeDetails", "details")):
            if given.get(name):
                wanted = {each.lower() for each in given[name]}
                shown = [each for each in shown if getattr(each, field_name).lower() in wanted]
        if given.get("Filter"):
            shown = filtered(shown, given["Filter"], self._row)
        return Output(shown, self._row)

    def _find(self, identity: str) -> Recipient | None:
        found = self.tenant.find(str(identity))
        if found is None and "@" not in str(identity):
            named = [each for each in self.tenant.listed() if str(identity).lower() in (
                each.name.lower(), each.alias.lower(), each.guid)]
            found = named[0] if len(named) == 1 else None
        return found

    def _row(self, each: Recipient) -> dict[str, Any]:
        return recipient_row(each, self.tenant.initial_domain)

    def _get_mailboxstatistics(self, given: dict[str, Any]) -> Output:
        names = ("Identity", "PrimarySmtpAddress", "UserPrincipalName", "ExchangeGuid")
        identity = next((given[name] for name in names if given.get(name) is not None), None)
        found = self._find(identity) if identity is not None else None
        if found is None or not found.is_mailbox:
            raise not_found(f"The specified mailbox Identity:\"{identity}\" doesn't exist.")
        return Output([found], lambda each: {
            "DisplayName": each.name, "Identity": each.guid, "MailboxGuid": each.guid, "ItemCount": each.items,
            "DeletedItemCount": 0, "TotalItemSize": size_text(each.size_bytes), "TotalDeletedItemSize": size_text(0),
            "LastLogonTime": when(each.used), "LastUserActionTime": when(each.used),
            "LastInteractionTime": when(each.used), "MailboxTypeDetail": each.details})

    def _get_mailboxautoreplyconfiguration(self, given: dict[str, Any]) -> Output:
        return self.auto_replies.get(self._mailbox(given["Identity"]))

    def _set_mailboxautoreplyconfiguration(self, given: dict[str, Any]) -> Output:
        return self.auto_replies.set(self._mailbox(given["Identity"]), given)

    def _mailbox(self, identity: str) -> Recipient:
        found = self._find(identity)
        if found is None or not found.is_mailbox:
            raise not_found(f"The operation couldn't be performed because object '{identity}' couldn't be found.")
        return found

    _get_exomailboxstatistics = _get_mailboxstatistics

    def _new_distributiongroup(self, given: dict[str, Any]) -> Output:
        alias = given.get("Alias") or re.sub(r"[^A-Za-z0-9._-]", "", given["Name"])
        address = str(given.get("PrimarySmtpAddress") or f"{alias}@{self.tenant.initial_domain}").lower()
        if not self.tenant.is_accepted(address):
            raise ServiceError("Microsoft.Exchange.Data.Directory.NotAcceptedDomainException",
                               f"You can't use the domain of '{address}' because it's not an accepted domain.")
        holder = self.tenant.holder([address])
        if holder is not None:
            error = migration_error("E21", address=address, holder=holder.name)
            raise ServiceError("Microsoft.Exchange.Data.Directory.ProxyAddressExistsException", error.text)
        if any(each.is_group and each.name.lower() == given["Name"].lower() for each in self.tenant.listed()):
            raise ServiceError("Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
                               f"The group '{given['Name']}' already exists.")
        members = [found.address for each in given.get("Members") or () if (found := self._find(each))]
        made = self.tenant.add_group(address, given["Name"], members, alias=alias,
                                     security=str(given.get("Type", "")).lower() == "security")
        return Output([made], self._row)

    def _remove_distributiongroup(self, given: dict[str, Any]) -> Output:
        found = self._find(given["Identity"])
        if found is None or not found.is_group:
            raise not_found(f"The operation couldn't be performed because object '{given['Identity']}' couldn't be "
                            "found.")
        self.tenant.remove_group(found)
        return Output()

    def _get_distributiongroupmember(self, given: dict[str, Any]) -> Output:
        found = self._find(given["Identity"]) if given.get("Identity") is not None else None
        if found is None or not found.is_group:
            raise not_found(f"The group '{given.get('Identity')}' couldn't be found.")
        members = [held for each in found.members if (held := self.tenant.find(each))]
        return Output(members, self._row)

    def _get_organizationconfig(self, given: dict[str, Any]) -> Output:
        name = self.tenant.initial_domain
        return Output([{"Identity": name, "Name": name, "DisplayName": name.partition(".")[0], "Guid": self.tenant.id,
                        "IsDehydrated": False, "AdminDisplayVersion": "0.20 (15.20.9000.0)"}])

    # --------------------------------------------------------------------------------------------------- mail

    def _get_inboundconnector(self, given: dict[str, Any]) -> Output:
        return Output([{"Identity": name, "Name": name, "ConnectorType": "OnPremises", "Enabled": True}
                       for name in self.tenant.connectors])

    def _get_outboundconnector(self, given: dict[str, Any]) -> Output:
        return Output()

    def _get_onpremserverreportinfo(self, given: dict[str, Any]) -> Output:
        """Servers that send by a connector and are out of date [form inferred: the cmdlet is known from articles]."""
        if self.tenant.faults.forwarding is None:
            return Output()
        return Output([{"ServerName": server, "ServerVersion": self.tenant.organisation.exchange,
                        "EnforcementStage": "Blocking"} for server in sorted(
                            {each.server for each in self.tenant.organisation.mailboxes.values()})])

    def _get_tenantexemptioninfo(self, given: dict[str, Any]) -> Output:
        return Output([{"BlockingScenario": "UnpatchedOnPremServer", "EndDate": when(end)}
                       for end in self.tenant.exemptions])

    def _new_tenantexemptioninfo(self, given: dict[str, Any]) -> Output:
        days = int(given["ExemptionDays"])
        if given["BlockingScenario"] != "UnpatchedOnPremServer" or not 1 <= days <= EXEMPTION_DAYS_MAX:
            raise ServiceError("Microsoft.Exchange.Management.Tasks.ValidationException",
                               f"An exemption has 1 to {EXEMPTION_DAYS_MAX} days.")
        self.tenant.exemptions.append(self.tenant.clock.now() + timedelta(days=days))
        self.tenant.faults.forwarding = None
        self.tenant.counters.effect("throttling_pause begin")
        return Output()

    def _get_messagetracev2(self, given: dict[str, Any]) -> Output:
        now = self.tenant.clock.now()
        ends = moment(given["EndDate"]) if given.get("EndDate") is not None else now
        starts = moment(given["StartDate"]) if given.get("StartDate") is not None else ends - timedelta(days=2)
        if ends - starts > timedelta(days=10) or now - starts > timedelta(days=90):
            raise ServiceError("Microsoft.Exchange.Management.Tasks.ValidationException",
                               "A query covers at most 10 days of the last 90.")
        found = [m for m in self.tenant.trace(given.get("MessageId") or (), given.get("RecipientAddress") or ())
                 if starts <= m.at <= ends]
        for name, of in (("SenderAddress", "sender"), ("Status", "status"), ("RecipientAddress", "recipient")):
            wanted = {each.lower() for each in given.get(name) or ()}
            if name == "RecipientAddress" and wanted:
                wanted |= {held.address for each in wanted if (held := self.tenant.find(each))}
            if wanted:
                found = [m for m in found if getattr(m, of).lower() in wanted]
        if given.get("Subject"):
            how = str(given.get("SubjectFilterType") or "Contains").lower()
            text = given["Subject"].lower()
            test = {"startswith": str.startswith, "endswith": str.endswith}.get(how, str.__contains__)
            found = [m for m in found if test(m.subject.lower(), text)]
        found = sorted(found, key=lambda m: (-m.at.timestamp(), m.recipient))
        # The next page begins at the last row of the one before: its time as EndDate, its recipient as the start.
        if given.get("StartingRecipientAddress"):
            first = str(given["StartingRecipientAddress"]).lower()
            found = [m for m in found if m.at < ends or m.recipient >= first]
        size = given.get("ResultSize") or RESULT_SIZE
        return Output(found[:min(int(size), TRACE_SIZE_MAX)], trace_row)


    def _get_messagetracedetailv2(self, given: dict[str, Any]) -> Output:
        """What happened to one message at one recipient [shape seen in use]."""
        found = [m for m in self.tenant.messages if m.trace_id == given["MessageTraceId"]
                 and m.recipient == str(given["RecipientAddress"]).lower()]
        events = [event for m in found for event in (
            {"Date": when(m.at), "Event": "Receive", "Action": "", "Detail": "Message received"},
            {"Date": when(m.at), "Event": "Fail" if m.status == "Failed" else "Deliver", "Action": "",
             "Detail": m.detail or "The message was successfully delivered."})]
        return Output([{"MessageTraceId": given["MessageTraceId"], **each} for each in events])


def _settings(endpoint: Endpoint, given: Mapping[str, Any]) -> None:
    for parameter, name in (("ExchangeServer", "exchange_server"), ("RpcProxyServer", "rpc_proxy_server"),
                            ("NspiServer", "nspi_server"), ("EmailAddress", "email_address"),
                            ("TestMailbox", "test_mailbox"), ("SourceMailboxLegacyDN", "legacy_dn"),
                            ("Authentication", "authentication"), ("MailboxPermission", "mailbox_permission"),
                            ("AcceptUntrustedCertificates", "untrusted")):
        if given.get(parameter) is not None:
            setattr(endpoint, name, given[parameter])
    for parameter, name in (("MaxConcurrentMigrations", "max_migrations"),
                            ("MaxConcurrentIncrementalSyncs", "max_incremental")):
        if given.get(parameter) is not None:
            text = str(given[parameter]).lower()
            setattr(endpoint, name, TENANT_MIGRATIONS_MAX if text == "unlimited" else int(text))
    if given.get("MaxConcurrentIncrementalSyncs") is None:
        endpoint.max_incremental = min(endpoint.max_incremental, endpoint.max_migrations)


def not_found(text: str) -> ServiceError:
    return ServiceError("Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException", text, 404,
                        "NotFound")
