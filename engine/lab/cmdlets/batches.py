"""Migration batches and their users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.lab.batch_csv import read_csv
from engine.lab.cmdlet_output import Output, batch_row, duration_text, size_text, when
from engine.lab.cmdlets.endpoints import Endpoints
from engine.lab.endpoints import TENANT_MIGRATIONS_MAX
from engine.lab.facts import ServiceError, migration_error
from engine.lab.migration import SUMMARY
from engine.lab.objects import Batch, MigrationUser

#: Parameters of New-MigrationBatch that make sense for an Outlook Anywhere batch; others are refused as E10 words it.
BATCH_PARAMETERS = {"Name", "SourceEndpoint", "CSVData", "AutoStart", "NotificationEmails", "TimeZone",
                    "ReportInterval", "AllowUnknownColumnsInCsv", "SkipReports", "Confirm", "WhatIf", "Partition"}


class Batches(Endpoints):
    """*-MigrationBatch, *-MigrationUser, Get-MigrationConfig."""

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
