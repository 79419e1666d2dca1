"""Connectors, what the service says of the source's servers, and the message trace."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from engine.lab.cmdlet_output import RESULT_SIZE, Output, moment, trace_row, when
from engine.lab.cmdlets.recipients import Recipients
from engine.lab.facts import ServiceError

TRACE_SIZE_MAX = 5000
EXEMPTION_DAYS_MAX = 90


class Mail(Recipients):
    """Get-*boundConnector, *-TenantExemptionInfo, Get-MessageTrace*."""

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
        traced = self.tenant.transport.trace(given.get("MessageId") or (), given.get("RecipientAddress") or ())
        found = [m for m in traced if starts <= m.at <= ends]
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
        found = [m for m in self.tenant.transport.messages if m.trace_id == given["MessageTraceId"]
                 and m.recipient == str(given["RecipientAddress"]).lower()]
        events = [event for m in found for event in (
            {"Date": when(m.at), "Event": "Receive", "Action": "", "Detail": "Message received"},
            {"Date": when(m.at), "Event": "Fail" if m.status == "Failed" else "Deliver", "Action": "",
             "Detail": m.detail or "The message was successfully delivered."})]
        return Output([{"MessageTraceId": given["MessageTraceId"], **each} for each in events])
