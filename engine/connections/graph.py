"""Microsoft Graph v1.0: domains, users, licences, the organisation. Sources: Microsoft Graph REST API reference.

settings: `url` (with or without /v1.0), `authority`, `client_id`, `client_secret` or `certificate`, `ca_file`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

from engine.connections.answers import parts_of, status_of
from engine.connections.graph_objects import (
    Credential,
    Domain,
    Organization,
    Sku,
    User,
    credentials_of,
    domain_of,
    is_usable,
    last_sign_in_of,
    mailbox_plan_of,
    organization_of,
    service_of,
    sku_of,
    user_of,
    verification_of,
)
from engine.connections.http import (
    BUDGET,
    THROTTLED,
    TRIES,
    Answer,
    Http,
    odata_error,
    retry_after,
)
from engine.connections.smtp import message_id
from engine.connections.tokens import Tokens
from engine.contract import Denied, Fault, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

T = TypeVar("T")

BATCH_SIZE_MAX = 20  # "Combine multiple HTTP requests using JSON batching"
PAGE_SIZE = 999
RIGHTS = "Domain.ReadWrite.All, Organization.Read.All, User.ReadWrite.All, LicenseAssignment.ReadWrite.All"
USER_FIELDS = ("id,userPrincipalName,mail,proxyAddresses,usageLocation,assignedLicenses,licenseAssignmentStates,"
               "onPremisesSyncEnabled,createdDateTime,onPremisesProvisioningErrors")
DELETED_FIELDS = "id,userPrincipalName,mail,proxyAddresses"
#: What a sign-in is read from; needs AuditLog.Read.All, and a tenant with Entra ID P1.
SIGN_IN_FIELDS = "id,userPrincipalName,signInActivity"
#: A proof that came too late: another organisation has proven the domain. Graph has no code of its own for it.
_TAKEN = re.compile(r"(another|different|other)\b.{0,30}\b(organi[sz]ation|tenant|director|compan)", re.IGNORECASE)

#: What a licence refusal's code means ("Resolve license assignment problems").
LICENCE_REMEDIES = {
    "CountViolation": "buy more seats, or take some back",
    "MutuallyExclusiveViolation": "take the licence that excludes it away first",
    "DependencyViolation": "assign the licence it depends on first",
    "ProhibitedInUsageLocationViolation": "the product is not sold at that usage location",
    "UniquenessViolation": "another user has the same proxy address",
}

#: One request of a batch: method, path relative to /v1.0, body.
Request: TypeAlias = "tuple[str, str, Any]"


class Graph:
    """The client. Thread-safe. Every method raises Fault; writes raise InDoubt when their answer got lost."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._site = site
        self._name = name
        self._client_id = str(settings.get("client_id") or "")
        url = str(settings.get("url") or "https://graph.microsoft.com").rstrip("/")
        parts = urlsplit(url)
        self._base = url if parts.path.strip("/") else f"{url}/v1.0"
        self._http = Http(name, settings, site, rights=RIGHTS)
        scope = str(settings.get("scope") or f"{parts.scheme}://{parts.netloc}/.default")
        self._http.tokens = Tokens(name, settings, site, scope)
        self._right_tenant = False
        self._sender_licensed = False
        #: the mailbox letters are sent from; "" where none is set
        self.sender = str(settings.get("sender") or "").lower()

    def close(self) -> None:
        self._http.close()

    # ------------------------------------------------------------------------------------------- reads

    def domains(self) -> Mapping[str, Domain]:
        """All domains of the tenant, by lower-case name."""
        return self._site.listing(self._name, "domains", lambda: {
            found.name: found for found in map(domain_of, self._pages("/domains"))})

    def verification_records(self, domain: str) -> Mapping[str, str]:
        """`txt`, `label`, `ttl` of the TXT record that proves ownership, `mx` in its stead (B-14).

        {} where Graph asks for none.
        """
        return _or_raise(self.verification_records_of((domain,))[domain])

    def verification_records_of(self, domains: Sequence[str]) -> Mapping[str, Mapping[str, str] | Fault]:
        """The same for many domains, 20 a call; each has its answer or its fault."""
        return self._records(domains, "verificationDnsRecords", verification_of)

    def service_records(self, domain: str) -> Mapping[str, Any]:
        """What the tenant demands of a verified domain's DNS, for mail only (`supportedService` Email).

        `mx_host`, `autodiscover_host` (lower case, trailing dot), `mx_preference`, `spf`; None where Graph names
        none. The MX host is never computed: message centre MC1048624.
        """
        return _or_raise(self.service_records_of((domain,))[domain])

    def service_records_of(self, domains: Sequence[str]) -> Mapping[str, Mapping[str, Any] | Fault]:
        """The same for many verified domains, 20 a call."""
        return self._records(domains, "serviceConfigurationRecords", service_of)

    def organization(self) -> Organization:
        """The tenant itself, read anew at most every few minutes."""
        def load() -> Organization:
            found = next(iter(self._pages("/organization")), None)
            if found is None:
                raise Rejected(self._name, "the tenant shows no organization")
            return organization_of(found)
        return self._site.listing(self._name, "organization", load)

    def users(self) -> Mapping[str, User]:
        """All users, under their sign-in name and under every address; a primary address wins over another's."""
        def load() -> Mapping[str, User]:
            path = f"/users?$select={USER_FIELDS}&$top={PAGE_SIZE}"
            everyone = [user_of(found) for found in self._pages(path)]
            found: dict[str, User] = {}
            for user in everyone:
                for address in (user.upn, *user.proxies):
                    found.setdefault(address, user)
            found.update((user.address, user) for user in everyone)
            return found
        return self._site.listing(self._name, "users", load)

    def deleted_users(self) -> Mapping[str, str]:
        """Object ids of soft-deleted users by every address they still hold (List deletedItems)."""
        def load() -> Mapping[str, str]:
            path = f"/directory/deletedItems/graph.user?$select={DELETED_FIELDS}&$top={PAGE_SIZE}"
            found: dict[str, str] = {}
            for user in map(user_of, self._pages(path)):
                for address in (user.upn, user.address, *user.proxies):
                    found.setdefault(address, user.id)
            return found
        return self._site.listing(self._name, "deleted_users", load)

    def sign_ins(self) -> Mapping[str, datetime | None]:
        """When each user last signed in, by object id; None: never since Entra ID records it (signInActivity)."""
        def load() -> Mapping[str, datetime | None]:
            return {str(raw.get("id") or ""): last_sign_in_of(raw)
                    for raw in self._pages(f"/users?$select={SIGN_IN_FIELDS}&$top={PAGE_SIZE}")}
        return self._site.listing(self._name, "sign_ins", load)

    def mailbox_plans(self, users: Sequence[str]) -> Sequence[str | Fault]:
        """Each user's Exchange mailbox plan as provisioned: Success, PendingProvisioning, Disabled …; "": none.

        licenseDetails, 20 users a call, in order.
        """
        answers = self._batch([("GET", f"/users/{quote(user)}/licenseDetails", None) for user in users], write=False)
        return [each if isinstance(each, Fault) else mailbox_plan_of(self._values(each)) for each in answers]

    def skus(self) -> Mapping[str, Sku]:
        """The tenant's usable products by part number ("SPE_E3")."""
        return self._site.listing(self._name, "skus", lambda: {
            found.part_number: found for found in map(sku_of, filter(is_usable, self._pages("/subscribedSkus")))})

    def licensed_addresses(self) -> frozenset[str]:
        """Every address of every user who holds a licence with a mailbox in it (B-47)."""
        def load() -> frozenset[str]:
            mailboxes = {sku.id for sku in self.skus().values() if sku.mailbox}
            return frozenset(address for address, user in self.users().items() if user.licences & mailboxes)
        return self._site.listing(self._name, "licensed", load)

    def granted(self) -> frozenset[str]:
        """The application rights that the token carries."""
        assert self._http.tokens is not None
        return self._http.tokens.roles()

    def clock_ahead(self) -> timedelta | None:
        """How far our clock is ahead of the service's, by its latest answer; None before the first."""
        return self._http.ahead

    def app_credentials(self) -> tuple[Credential, ...]:
        """The secrets and certificates of the app we sign in as (Application.Read.All). None of them is shown."""
        def load() -> tuple[Credential, ...]:
            path = (f"/applications?$filter=appId eq '{self._client_id}'"
                    "&$select=appId,passwordCredentials,keyCredentials")
            return tuple(each for found in self._pages(path) for each in credentials_of(found))
        return self._site.listing(self._name, "app_credentials", load)

    # ------------------------------------------------------------------------------------------ writes

    def add_domain(self, domain: str) -> None:
        """Make the domain known to the tenant (B-13)."""
        self._write("POST", "/domains", {"id": domain})

    def verify_domain(self, domain: str) -> None:
        """Ask the tenant to look for the proof (B-16). Unreachable while it does not see it: DNS takes its time."""
        try:
            self._write("POST", f"/domains/{quote(domain)}/verify", None)
        except Rejected as fault:
            if not fault.code.startswith("400"):
                raise
            if _TAKEN.search(fault.text):
                raise Rejected(self._name, fault.text, code=fault.code, request_id=fault.request_id, remedy=(
                    f"take {domain} out of the other organisation, or have its administrators do it; "
                    "then try again")) from None
            raise Unreachable(self._name, f"not verified yet: {fault.text}", code=fault.code,
                              request_id=fault.request_id, retry_after=900.0,  # B-15: about 15 minutes
                              remedy="check the TXT record in public DNS") from None

    def delete_domain(self, domain: str) -> None:
        """Take the domain from the tenant. Rejected while an object uses it (B-11); no fault when it is gone."""
        try:
            self._write("DELETE", f"/domains/{quote(domain)}", None)
        except Rejected as fault:
            if not fault.code.startswith("404"):
                raise

    def remove_licences(self, many: Sequence[tuple[str, str]]) -> Sequence[Fault | None]:
        """Take (user id, SKU id) pairs back; one answer per pair, in order."""
        answers = self._write_many([
            ("POST", f"/users/{quote(user)}/assignLicense", {"addLicenses": [], "removeLicenses": [sku]})
            for user, sku in many])
        return [each if isinstance(each, Fault) else None for each in answers]

    def assign_licences(self, many: Sequence[tuple[str, str]]) -> Sequence[Fault | None]:
        """Assign (user id, SKU id) pairs; one answer per pair, in order. A licence already there is no fault."""
        answers = self._write_many([
            ("POST", f"/users/{quote(user)}/assignLicense",
             {"addLicenses": [{"skuId": sku, "disabledPlans": []}], "removeLicenses": []}) for user, sku in many])
        return [_licence_fault(each) if isinstance(each, Fault) else None for each in answers]

    def set_usage_location(self, many: Sequence[tuple[str, str]]) -> Sequence[Fault | None]:
        """Set (user id, ISO 3166 country) pairs; one answer per pair, in order."""
        answers = self._write_many([("PATCH", f"/users/{quote(user)}", {"usageLocation": location})
                                    for user, location in many])
        return [each if isinstance(each, Fault) else None for each in answers]

    def rename_user(self, user: str, upn: str) -> None:
        """Set a user's sign-in name (C-29). Directory-synchronised users are renamed at their source instead."""
        self._write("PATCH", f"/users/{quote(user)}", {"userPrincipalName": upn})

    def message_id(self, kind: str, identity: str, to: str) -> str:
        """The mark of a letter sent from `sender`: as `Smtp.message_id`."""
        return message_id(self._site, kind, identity, to, self.sender)

    def send_mail(self, to: str, subject: str, text: str, message_id: str) -> None:
        """Send a plain text from `sender` (user: sendMail; Mail.Send), under a Message-ID by which it is found again.

        Raises Rejected where the sender has no licensed mailbox: Graph would only say that the mailbox is inactive.
        """
        if not self._sender_licensed:
            if self.sender not in self.licensed_addresses():
                raise Rejected(
                    self._name, f"{self.sender or 'no sender'} has no licensed mailbox: no letter can leave it",
                    remedy="license the connection's sender, or write `through: smtp`")
            self._sender_licensed = True
        try:
            self._write("POST", f"/users/{quote(self.sender)}/sendMail", {"message": {
                "subject": subject, "body": {"contentType": "text", "content": text},
                "internetMessageId": message_id, "toRecipients": [{"emailAddress": {"address": to}}],
                "internetMessageHeaders": [{"name": "x-auto-response-suppress", "value": "All"}]},
                "saveToSentItems": False})
        except Denied as fault:
            fault.remedy = f"the account needs: Mail.Send, for {self.sender}"
            raise

    # ------------------------------------------------------------------------------------------ inside

    def _write(self, method: str, path: str, body: Any) -> Answer:
        self._pin_tenant()
        return self._http.call(method, self._base + path, write=True, body=body)

    def _write_many(self, requests: Sequence[Request]) -> list[Any | Fault]:
        if not requests:
            return []
        self._pin_tenant()
        return self._batch(requests, write=True)

    def _pin_tenant(self) -> None:
        """C8: before the first write of a session, the token's tenant must be the inventory's."""
        wanted = str(self._site.settings["tenant"]["id"]).lower()
        if self._right_tenant:
            return
        found = self.organization().id
        if found != wanted:
            raise Rejected(self._name, f"the account belongs to tenant {found}, the inventory names {wanted}",
                           remedy="correct tenant.id, or the connection's client_id and authority")
        self._right_tenant = True

    def _pages(self, path: str) -> Iterator[Mapping[str, Any]]:
        url, seen = self._base + path, set[str]()
        while True:
            answer = self._http.call("GET", url, write=False).data
            yield from self._values(answer)
            link = answer.get("@odata.nextLink")
            if link is None:
                return
            url = self._http.follow(self._base, link)
            if url in seen:
                raise Rejected(self._name, "the service's pages go round in a circle")
            seen.add(url)

    def _values(self, answer: Any) -> Sequence[Mapping[str, Any]]:
        values = answer.get("value") if isinstance(answer, dict) else None
        if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
            raise Rejected(self._name, "the answer is not a list of objects")
        return values

    def _records(self, domains: Sequence[str], which: str, shape: Any) -> Mapping[str, Any]:
        """Through the shared listing, so that a second task asks only for what the first did not."""
        known: dict[str, Any] = self._site.listing(self._name, which, dict)
        missing = [each for each in domains if each not in known]
        answers = self._batch([("GET", f"/domains/{quote(each)}/{which}", None) for each in missing], write=False)
        fresh: dict[str, Any] = {}
        for domain, answer in zip(missing, answers, strict=True):
            try:
                fresh[domain] = answer if isinstance(answer, Fault) else shape(self._values(answer))
            except Fault as fault:
                fresh[domain] = fault
        known.update((domain, found) for domain, found in fresh.items() if not isinstance(found, Fault))
        return {domain: fresh[domain] if domain in fresh else known[domain] for domain in domains}

    def _batch(self, requests: Sequence[Request], *, write: bool) -> list[Any | Fault]:
        """Bodies or faults, in order, 20 requests a call. Each part is judged on its own; throttled parts alone
        are sent again, after the longest Retry-After of their batch."""
        found: list[Any | Fault] = []
        for start in range(0, len(requests), BATCH_SIZE_MAX):
            found += self._batch_of(requests[start:start + BATCH_SIZE_MAX], write)
        return found

    def _batch_of(self, requests: Sequence[Request], write: bool) -> list[Any | Fault]:
        clock = self._site.world.clock
        started = clock.now()
        found: list[Any | Fault] = [None] * len(requests)
        left = list(range(len(requests)))
        for tried in range(1, TRIES + 1):
            self._http.pause(started)
            try:
                parts = self._ask(requests, left, write)
            except Fault as fault:
                for place in left:
                    found[place] = fault
                return found
            again, longest = [], 0.0
            for place in left:
                part = parts.get(str(place))
                if part is not None and part.status in THROTTLED:
                    pause = retry_after(part.headers, clock.now())
                    longest = max(longest, 2.0 ** tried if pause is None else pause)
                    again.append(place)
                else:
                    found[place] = self._judge(part, write)
            if not again:
                return found
            left = again
            self._http.hold_back(longest)
            if tried == TRIES or clock.now() + timedelta(seconds=longest) > started + BUDGET:
                for place in left:
                    found[place] = Unreachable(self._name, "throttled", code="429", retry_after=longest)
                return found
        return found

    def _ask(self, requests: Sequence[Request], places: Sequence[int], write: bool) -> Mapping[str, Answer]:
        sent = []
        for place in places:
            method, path, body = requests[place]
            part: dict[str, Any] = {"id": str(place), "method": method, "url": path}
            if body is not None:
                part |= {"headers": {"Content-Type": "application/json"}, "body": body}
            sent.append(part)
        answer = self._http.call("POST", f"{self._base}/$batch", write=write, body={"requests": sent}).data
        return {str(part.get("id")): Answer(status_of(part), _headers(part), part.get("body"))
                for part in parts_of(answer)}

    def _judge(self, part: Answer | None, write: bool) -> Any | Fault:
        if part is None or part.status == 0 or part.status >= 500:
            text = "a part of the batch was not answered" if part is None else f"HTTP {part.status} in a batch"
            return InDoubt(self._name, text) if write else Unreachable(self._name, text)
        if 200 <= part.status < 300:
            return part.data
        said = odata_error(part)
        code, text = f"{part.status} {said.code}".strip(), self._http.redact(said.text)
        if part.status in (401, 403):
            return Denied(self._name, text, code=code, request_id=part.request_id,
                          remedy=f"the account needs: {RIGHTS}")
        return Rejected(self._name, text, code=code, request_id=part.request_id)


def _or_raise(found: Mapping[str, T] | Fault) -> Mapping[str, T]:
    if isinstance(found, Fault):
        raise found
    return found


def _headers(part: Mapping[str, Any]) -> Mapping[str, str]:
    found = part.get("headers")
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _licence_fault(fault: Fault) -> Fault:
    if isinstance(fault, Rejected):
        for code, remedy in LICENCE_REMEDIES.items():
            if code in fault.text or code in fault.code:
                fault.remedy = remedy
        if "usage location" in fault.text.lower() and not fault.remedy:
            fault.remedy = "set usage_location"
    return fault
