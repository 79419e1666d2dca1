"""Exchange Online's cmdlets over the REST door its own module uses (InvokeCommand; not a documented contract).

settings: `url` (https://outlook.office365.com), `authority`, `client_id`, `client_secret` or `certificate`,
`ca_file`; `shell: pwsh` and `source_password` open the other door (`pwsh.py`). Cmdlets that carry a credential never
go over this one: their encoding is unknown, and a secret that need not leave does not. Names and parameters: the
cmdlet reference (office-docs-powershell).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from engine.connections.answers import parts_of, shaped, status_of
from engine.connections.http import READ_SECONDS, TRIES, Answer, Http, Said, odata_error
from engine.connections.migration_objects import (
    Endpoint,
    Group,
    MigrationBatch,
    MigrationConfig,
    MigrationUser,
    Recipient,
    TraceRow,
    batch_of,
    config_of,
    endpoint_of,
    group_of,
    moment,
    recipient_of,
    trace_row_of,
    user_of,
)
from engine.connections.pwsh import Credential, Pwsh
from engine.connections.secrets import Secret
from engine.connections.service_errors import explained
from engine.connections.tokens import Tokens
from engine.contract import Fault, Rejected

if TYPE_CHECKING:
    from engine.connections import Site

Found: TypeAlias = dict[str, Any]

PAGE_SIZE = 1_000
BATCH_SIZE_MAX = 10
RIGHTS = "Exchange.ManageAsApp with the role Exchange Administrator, or a role group with the role Migration"
#: The mailbox that app-only calls are routed by; the same GUID in every organisation.
ANCHOR = "APP:SystemMailbox{{bb558c35-97f1-4cb9-8ff7-d53741dc928c}}@{tenant}"
#: These connect to the source while the caller waits.
PATIENT = frozenset({"Test-MigrationServerAvailability", "Set-MigrationEndpoint"})
PATIENT_SECONDS = 600.0
#: A trace may ask for ten days at once, and gets at most this many rows (Get-MessageTraceV2).
TRACE_DAYS_MAX = 10
TRACE_ROWS_MAX = 5_000

_CREDENTIAL = re.compile(r"credential|password|secret|oauthcode|keyfile", re.IGNORECASE)
_THROTTLE_TEXT = re.compile(r"maximum number of concurrent|issue may be transient|server is busy", re.IGNORECASE)
_MAILBOX_FIELDS = "PrimarySmtpAddress,EmailAddresses,RecipientTypeDetails,ExchangeGuid,LegacyExchangeDN"


class ExchangeOnline:
    """The client. Thread-safe. Every method raises Fault; writes raise InDoubt when their answer got lost."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._site = site
        self._name = name
        url = str(settings.get("url") or "https://outlook.office365.com").rstrip("/")
        parts = urlsplit(url)
        self._tenant = str(site.settings["tenant"]["id"])
        self._base = url if "/adminapi/" in parts.path else f"{url}/adminapi/beta/{self._tenant}"
        self._http = Http(name, settings, site, rights=RIGHTS, explain=explain)
        scope = str(settings.get("scope") or f"{parts.scheme}://{parts.netloc}/.default")
        self._http.tokens = Tokens(name, settings, site, scope)
        self._source_password = settings.get("source_password")
        self.shell = Pwsh(name, settings, site, self._http.tokens) if settings.get("shell") == "pwsh" else None

    def close(self) -> None:
        if self.shell is not None:
            self.shell.close()
        self._http.close()

    def credential(self, account: str) -> Credential | None:
        """The source account's credential, for cmdlets that take one; None: a person types it into a shell."""
        if self.shell is None or not isinstance(self._source_password, Secret):
            return None
        return Credential(account, self._source_password)

    # ----------------------------------------------------------------------------------------- cmdlets

    def invoke(self, cmdlet: str, **parameters: Any) -> list[Found]:
        """Run one cmdlet and return its objects, all pages, keys without OData's own.

        A Credential among the parameters goes through the PowerShell child, and with it the whole call. Raises
        Rejected with the exception's class in `code` ("404 ManagementObjectNotFoundException"). ValueError: a
        parameter that must not be sent, before any call.
        """
        given = {name: value for name, value in parameters.items() if isinstance(value, Credential)}
        if given and self.shell is not None:
            plain = {name: value for name, value in parameters.items() if name not in given}
            sent = command(cmdlet, plain)["CmdletInput"]["Parameters"]
            return self.shell.invoke(cmdlet, {**sent, **given}, write=not reads(cmdlet))
        return list(self._pages(cmdlet, parameters, ""))

    def batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[Found] | Fault]:
        """Run reading cmdlets, ten a request; one answer per call, in order, each judged on its own."""
        found: list[list[Found] | Fault] = []
        for start in range(0, len(calls), BATCH_SIZE_MAX):
            found += self._batch_of(calls[start:start + BATCH_SIZE_MAX])
        return found

    # ---------------------------------------------------------------------------------------- listings

    def migration_users(self) -> Mapping[str, MigrationUser]:
        """Every migration user of the tenant, by address."""
        return self._site.listing(self._name, "migration_users", lambda: {
            user.address: user
            for user in map(user_of, self._pages("Get-MigrationUser", {"ResultSize": "Unlimited"}, ""))})

    def migration_batches(self) -> Mapping[str, MigrationBatch]:
        """Every batch of the tenant, by name as written."""
        return self._site.listing(self._name, "migration_batches", lambda: {
            batch.name: batch
            for batch in map(batch_of, self._pages("Get-MigrationBatch", {"ResultSize": "Unlimited"}, ""))})

    def granted(self) -> frozenset[str]:
        """The application rights that the token carries."""
        assert self._http.tokens is not None
        return self._http.tokens.roles()

    def migration_config(self) -> MigrationConfig:
        """What the tenant allows now. Raises Rejected when the service shows none."""
        def load() -> MigrationConfig:
            found = self.invoke("Get-MigrationConfig")
            if not found:
                raise Rejected(self._name, "Get-MigrationConfig shows nothing")
            return config_of(found[0])
        return self._site.listing(self._name, "migration_config", load)

    def endpoints(self) -> Mapping[str, Endpoint]:
        """Every migration endpoint of the tenant, by name as written."""
        return self._site.listing(self._name, "endpoints", lambda: {
            found.name: found for found in map(endpoint_of, self._pages("Get-MigrationEndpoint", {}, ""))})

    def accepted_domains(self) -> frozenset[str]:
        """Every domain Exchange Online accepts mail for, lower case."""
        return self._site.listing(self._name, "accepted_domains", lambda: frozenset(
            str(found.get("DomainName") or "").lower() for found in self._pages("Get-AcceptedDomain", {}, "")))

    def groups(self) -> Mapping[str, Group]:
        """Every distribution and mail-enabled security group, by primary address."""
        return self._site.listing(self._name, "groups", lambda: {
            found.address: found
            for found in map(group_of, self._pages("Get-DistributionGroup", {"ResultSize": "Unlimited"}, ""))})

    def recipients(self) -> Mapping[str, Recipient]:
        """Every recipient of the tenant, under its primary address and every other SMTP address it has."""
        def load() -> Mapping[str, Recipient]:
            domain = str(self._site.settings["tenant"].get("domain") or "onmicrosoft.com").lower()
            everything: dict[str, Recipient] = {}
            for cmdlet, fields in (
                    ("Get-Recipient", "PrimarySmtpAddress,EmailAddresses,RecipientTypeDetails,RecipientType"),
                    ("Get-MailUser", _MAILBOX_FIELDS + ",ExternalEmailAddress"), ("Get-Mailbox", _MAILBOX_FIELDS)):
                for raw in self._pages(cmdlet, {"ResultSize": "Unlimited"}, fields):
                    found = recipient_of(raw, cmdlet, domain)
                    if found is not None:
                        everything[found.address] = found  # the later listings know more
            by_address = dict(everything)
            for found in everything.values():
                for proxy in found.proxies:
                    by_address.setdefault(proxy, found)
            return by_address
        return self._site.listing(self._name, "recipients", load)

    def group_members(self, groups: Sequence[str]) -> Sequence[frozenset[str] | Fault]:
        """Primary addresses of each group's members, in order."""
        answers = self.batch([("Get-DistributionGroupMember", {"Identity": each, "ResultSize": "Unlimited"})
                              for each in groups])
        return [each if isinstance(each, Fault) else frozenset(
            str(member.get("PrimarySmtpAddress") or "").lower() for member in each) for each in answers]

    def premises_connectors(self) -> tuple[str, ...]:
        """Names of the enabled connectors that tie the tenant to a server of one's own (ConnectorType OnPremises)."""
        return self._site.listing(self._name, "connectors", lambda: tuple(
            f"{cmdlet.removeprefix('Get-')} {found.get('Name') or found.get('Identity')}"
            for cmdlet in ("Get-InboundConnector", "Get-OutboundConnector")
            for found in self._pages(cmdlet, {}, "")
            if str(found.get("ConnectorType")) == "OnPremises" and found.get("Enabled") is not False))

    def server_report(self) -> tuple[str, ...]:
        """What Exchange Online says of the servers that send to it (Get-OnPremServerReportInfo), a line a server.

        Its form is known from articles only: every value of a row is kept.
        """
        return self._site.listing(self._name, "server_report", lambda: tuple(
            ", ".join(f"{name} {value}" for name, value in sorted(found.items()) if value not in (None, ""))
            for found in self._pages("Get-OnPremServerReportInfo", {}, "")))

    def exemptions(self) -> tuple[datetime, ...]:
        """Ends of the pauses granted to the tenant (Get-TenantExemptionInfo), any order."""
        def load() -> tuple[datetime, ...]:
            ends = (moment(found.get("EndDate")) for found in self._pages("Get-TenantExemptionInfo", {}, ""))
            return tuple(each for each in ends if each is not None)
        return self._site.listing(self._name, "exemptions", load)

    def item_counts(self, addresses: Iterable[str]) -> Mapping[str, int]:
        """Items in each cloud mailbox. An address whose mailbox could not be read is left out of the answer.

        Raises the first Fault when none could be read.
        """
        asked = list(addresses)
        answers = self.batch([("Get-MailboxStatistics", {"Identity": each}) for each in asked])
        counts: dict[str, int] = {}
        for address, answer in zip(asked, answers, strict=True):
            if not isinstance(answer, Fault) and answer and answer[0].get("ItemCount") is not None:
                counts[address] = _item_count(answer[0])
        first = next((each for each in answers if isinstance(each, Fault)), None)
        if first is not None and not counts:
            raise first
        return counts

    def last_actions(self, addresses: Sequence[str]) -> Sequence[datetime | Fault | None]:
        """When each mailbox's own person last did something in it (LastUserActionTime); None: never. In order."""
        answers = self.batch([("Get-EXOMailboxStatistics", {
            "PrimarySmtpAddress": each, "Properties": ["LastUserActionTime"]}) for each in addresses])
        return [each if isinstance(each, Fault) else moment((each[0] if each else {}).get("LastUserActionTime"))
                for each in answers]

    def user_statistics(self, addresses: Sequence[str], *,
                        report: bool = False) -> Sequence[Mapping[str, Any] | Fault]:
        """Get-MigrationUserStatistics of each, with its skipped items, in order; with `report` also its whole log."""
        asked = {"IncludeSkippedItems": True} | ({"IncludeReport": True} if report else {})
        answers = self.batch([("Get-MigrationUserStatistics", {"Identity": each, **asked}) for each in addresses])
        return [each if isinstance(each, Fault) else (each[0] if each else {}) for each in answers]

    def message_trace(self, since: datetime) -> Mapping[str, TraceRow]:
        """Messages that reached the tenant since then, by Message-ID with its brackets; the latest row of each."""
        def load() -> Mapping[str, TraceRow]:
            rows: dict[str, TraceRow] = {}
            now, start = self._site.world.clock.now(), since
            while start < now:
                end = min(now, start + timedelta(days=TRACE_DAYS_MAX))
                for row in self._trace(start, end):
                    kept = rows.get(row.message_id)
                    if kept is None or row.received >= kept.received:
                        rows[row.message_id] = row
                start = end
            return rows
        return self._site.listing(self._name, f"message_trace {since.isoformat()}", load)

    def trace_failure(self, trace_id: str, recipient: str) -> str:
        """Why a traced message failed, in the service's words: the Fail events of Get-MessageTraceDetailV2."""
        found = self.invoke("Get-MessageTraceDetailV2", MessageTraceId=trace_id, RecipientAddress=recipient)
        return "; ".join(dict.fromkeys(str(each.get("Detail") or "").strip() for each in found
                                       if str(each.get("Event") or "").lower() in ("fail", "failed"))).strip("; ")

    def _trace(self, start: datetime, end: datetime) -> Iterator[TraceRow]:
        """Rows come newest first; a full answer is gone on from its last row, which it repeats."""
        recipient: dict[str, Any] = {}
        while True:
            found = self.invoke("Get-MessageTraceV2", StartDate=utc_text(start), EndDate=utc_text(end),
                                ResultSize=TRACE_ROWS_MAX, **recipient)
            rows = [trace_row_of(each, end) for each in found]
            yield from rows
            if len(rows) < TRACE_ROWS_MAX:
                return
            last = rows[-1]
            if last.received == end and recipient.get("StartingRecipientAddress") == last.recipient:
                raise Rejected(self._name, "the message trace does not come to an end")
            end, recipient = last.received, {"StartingRecipientAddress": last.recipient}

    # ------------------------------------------------------------------------------------------ inside

    def _pages(self, cmdlet: str, parameters: Mapping[str, Any], fields: str) -> Iterator[Found]:
        url = f"{self._base}/InvokeCommand" + (f"?$select={fields}" if fields else "")
        body = command(cmdlet, parameters)
        seen: set[str] = set()
        while url:
            answer = self._post(cmdlet, url, body)
            yield from self._values(answer.data)
            link = answer.data.get("@odata.nextLink") if isinstance(answer.data, dict) else None
            if link in seen:
                raise Rejected(self._name, f"the pages of {cmdlet} go round in a circle")
            seen.add(str(link))
            url = self._http.follow(self._base, link) if link else ""

    def _post(self, cmdlet: str, url: str, body: Mapping[str, Any]) -> Answer:
        patient = cmdlet in PATIENT
        try:
            answer = self._http.call(
                "POST", url, write=not reads(cmdlet), body=body,
                headers={**self._headers(), "X-CmdletName": cmdlet},
                read_seconds=PATIENT_SECONDS if patient else READ_SECONDS, tries=2 if patient else TRIES)
        except Rejected as fault:
            raise explained(fault) from None
        data = answer.data if isinstance(answer.data, dict) else {}
        if data.get("@adminapi.errors"):
            raise Rejected(self._name, self._http.redact(_joined(data["@adminapi.errors"])),
                           request_id=answer.request_id)
        if data.get("@adminapi.confirmationmessage"):
            raise Rejected(self._name, f"{cmdlet} asks for confirmation: nothing was done",
                           request_id=answer.request_id)
        return answer

    def _headers(self) -> dict[str, str]:
        return {"X-AnchorMailbox": ANCHOR.format(tenant=self._tenant), "X-ClientApplication": "mailmove",
                "Prefer": f"odata.maxpagesize={PAGE_SIZE}"}

    def _values(self, data: Any) -> list[Found]:
        if data is None:
            return []
        values = data.get("value", []) if isinstance(data, dict) else None
        if not isinstance(values, list):
            raise Rejected(self._name, "the answer is not a list of objects")
        return [{key: value for key, value in each.items() if "@" not in key}
                for each in values if isinstance(each, dict)]

    def _batch_of(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[Found] | Fault]:
        url, sent = f"{self._base}/InvokeCommand", []
        for place, (cmdlet, parameters) in enumerate(calls):
            if not reads(cmdlet):
                raise ValueError(f"{cmdlet} changes something: it is called alone, so that its answer is its own")
            headers = {**self._headers(), "X-CmdletName": cmdlet, "Content-Type": "application/json"}
            sent.append({"id": str(place), "method": "POST", "url": url, "headers": headers,
                         "body": command(cmdlet, parameters)})
        answer = self._http.call("POST", f"{self._base}/$batch", write=False, body={"requests": sent},
                                 headers={"Prefer": "odata.continue-on-error"})
        by_id = {str(part.get("id")): part for part in parts_of(answer.data)}
        return [self._part(call, by_id.get(str(place))) for place, call in enumerate(calls)]

    def _part(self, call: tuple[str, Mapping[str, Any]], part: Mapping[str, Any] | None) -> list[Found] | Fault:
        status = status_of(part) if part else 0
        body = part.get("body") if part else None
        try:
            if 200 <= status < 300 and not (isinstance(body, dict) and body.get("@odata.nextLink")):
                return self._values(body)
            said = explain(Answer(status, {}, body))
            passing = status == 0 or status == 429 or status >= 500 or said.passing
            if 200 <= status < 300 or (passing and not said.considered):
                return self.invoke(call[0], **call[1])  # alone: with its own pages, tries and pauses
        except Fault as fault:
            return fault
        return Rejected(self._name, self._http.redact(said.text), code=f"{status} {said.code}".strip())


@shaped("exchange_online")
def _item_count(found: Mapping[str, Any]) -> int:
    return int(found["ItemCount"])


def reads(cmdlet: str) -> bool:
    """Whether carrying it out twice is harmless: looks, and the availability test."""
    return cmdlet.startswith(("Get-", "Test-"))


def command(cmdlet: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an InvokeCommand. Raises ValueError for what must never be sent.

    A null identity would mean every object ("Caution" in the help of Get-MigrationUser); a credential belongs into a
    person's own shell.
    """
    for name, value in parameters.items():
        if _CREDENTIAL.search(name) or isinstance(value, Secret | Credential):
            raise ValueError(f"{cmdlet} -{name}: a credential is never sent over this door")
        if value is None or (name == "Identity" and (not isinstance(value, str) or not value.strip())):
            raise ValueError(f"{cmdlet} -{name}: no value, which would mean every object")
    sent = {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}
    if not cmdlet.startswith("Get-"):
        sent["Confirm"] = False  # every ShouldProcess cmdlet would else only ask
    return {"CmdletInput": {"CmdletName": cmdlet, "Parameters": sent}}


def utc_text(when: datetime) -> str:
    """A DateTime parameter: UTC with Z, so that no zone is guessed."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def explain(answer: Answer) -> Said:
    """`id|ExceptionClass|text` from wherever the service put it; the class decides, not the text."""
    error = answer.data.get("error") if isinstance(answer.data, dict) else None
    if not isinstance(error, dict):
        text = str(answer.data or f"HTTP {answer.status}")
        return Said("", text, passing=_THROTTLE_TEXT.search(text) is not None)
    text = next(filter(None, _texts(error)), "") or odata_error(answer).text
    kind = next((value for key, value in answer.headers.items() if key.lower() == "x-exceptiontype"), "")
    pieces = text.split("|", 2)
    if len(pieces) == 3:
        kind, text = pieces[1], pieces[2]
    short = kind.strip().rpartition(".")[2]
    passing = _THROTTLE_TEXT.search(text) is not None or short in ("UnableToWriteToAadException",
                                                                  "MigrationTransientException")
    return Said(short or str(error.get("code") or ""), text.strip(), passing=passing,
                considered=bool(short) and not passing)


def _texts(error: Mapping[str, Any]) -> Iterator[str]:
    lower = {key.lower(): value for key, value in error.items()}
    details = lower.get("details")
    for detail in details if isinstance(details, list) else [details]:
        if isinstance(detail, dict):
            yield str(detail.get("message") or "")
    inner = lower.get("innererror")
    if isinstance(inner, dict):
        deeper = {key.lower(): value for key, value in inner.items()}.get("internalexception")
        if isinstance(deeper, dict):
            yield str(deeper.get("message") or "")
    yield str(lower.get("message") or "")


def _joined(found: Any) -> str:
    return "; ".join(map(str, found)) if isinstance(found, list) else str(found)

