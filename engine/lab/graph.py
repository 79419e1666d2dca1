"""Microsoft Graph v1.0: the part of it that a mail migration calls, as a pure handler over the tenant.

A request that the published description does not know is refused (path, method, query option, selected property,
body); one that it knows and the lab does not simulate is answered 501, never with an invention.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from engine.lab import facts
from engine.lab.facts import Operation, ServiceError
from engine.lab.http import Gate, Request, Response, answer
from engine.lab.objects import Domain, Recipient, Sku
from engine.lab.tenant import Tenant
from engine.lab.tokens import ROLES, Tokens

PUBLIC_ORIGIN = "https://graph.microsoft.com"
PREFIX = "/v1.0"
PAGE_ROWS_MAX = 999
PAGE_ROWS = 100
BATCH_REQUESTS_MAX = 20
#: What v1.0 returns of a user when nothing is selected (List users).
USER_FIELDS = ("id", "businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone",
               "officeLocation", "preferredLanguage", "surname", "userPrincipalName")
EXCHANGE_PLAN = {"servicePlanId": "efb87545-963c-4e0d-99df-69c6916d9eb0", "servicePlanName": "EXCHANGE_S_ENTERPRISE",
                 "provisioningStatus": "Success", "appliesTo": "User"}

Row = dict[str, Any]


class Graph:
    """One method per simulated operation, in a table by (method, template of the path)."""

    def __init__(self, tenant: Tenant, tokens: Tokens, gate: Gate) -> None:
        self._tenant = tenant
        self._tokens = tokens
        self._gate = gate
        self._operations: Mapping[tuple[str, str], Callable[[Request, Operation, Any], Response]] = {
            ("GET", "/domains"): self._list_domains,
            ("POST", "/domains"): self._add_domain,
            ("GET", "/domains/{domain-id}"): self._get_domain,
            ("PATCH", "/domains/{domain-id}"): self._change_domain,
            ("DELETE", "/domains/{domain-id}"): self._delete_domain,
            ("POST", "/domains/{domain-id}/verify"): self._verify_domain,
            ("GET", "/domains/{domain-id}/verificationDnsRecords"): self._verification_records,
            ("GET", "/domains/{domain-id}/serviceConfigurationRecords"): self._service_records,
            ("GET", "/organization"): self._list_organization,
            ("GET", "/organization/{organization-id}"): self._get_organization,
            ("PATCH", "/organization/{organization-id}"): self._change_organization,
            ("GET", "/users"): self._list_users,
            ("GET", "/users/{user-id}"): self._get_user,
            ("PATCH", "/users/{user-id}"): self._change_user,
            ("DELETE", "/users/{user-id}"): self._delete_user,
            ("POST", "/users/{user-id}/assignLicense"): self._assign,
            ("GET", "/users/{user-id}/licenseDetails"): self._licence_details,
            ("POST", "/users/{user-id}/sendMail"): self._send_mail,
            ("GET", "/subscribedSkus"): self._list_skus,
            ("GET", "/groups"): self._list_groups,
            ("GET", "/groups/{group-id}"): self._get_group,
            ("GET", "/groups/{group-id}/members"): self._list_members,
            ("GET", "/directory/deletedItems/graph.user"): self._list_deleted,
            ("DELETE", "/directory/deletedItems/{directoryObject-id}"): self._purge,
            ("GET", "/servicePrincipals"): self._list_principals,
            ("GET", "/applications"): self._list_applications,
        }

    def handle(self, request: Request) -> Response:
        if request.path == f"{PREFIX}/$batch":
            return self._gate.envelope("graph POST /$batch", lambda: self._batch(request))
        return self._gate.whole(_kind(request), lambda: self._serve(request))

    def _serve(self, request: Request) -> Response:
        refused = self._tokens.refusal(request, PUBLIC_ORIGIN)
        if refused is not None:
            return refused
        try:
            if not request.path.startswith(PREFIX + "/"):
                raise ServiceError("", "Invalid version.", 400, "BadRequest")
            operation = facts.operation(request.method, request.path.removeprefix(PREFIX), request.query)
            act = self._operations.get((operation.method, operation.template))
            if act is None:
                raise ServiceError("", f"The lab does not simulate {operation.method} {operation.template}.", 501,
                                   "NotImplemented")
            return act(request, operation, self._read_body(request, operation))
        except ServiceError as error:
            return _error(error, request)

    @staticmethod
    def _read_body(request: Request, operation: Operation) -> Any:
        if operation.body is None:
            return None
        if not request.body:
            if operation.body_required:
                raise ServiceError("", "Empty Payload. JSON content expected.", 400, "BadRequest")
            return {}
        try:
            body = request.json()
        except ValueError:
            raise ServiceError("", "Unable to read JSON request payload.", 400, "BadRequest") from None
        facts.check_body(operation.body, body, action="properties" in operation.body)
        return body

    def _batch(self, request: Request) -> Response:
        """JSON batching: at most 20 requests; a part whose dependency failed is answered 424."""
        refused = self._tokens.refusal(request, PUBLIC_ORIGIN)
        if refused is not None:
            return refused
        try:
            body = request.json()
            parts = body["requests"]
            ids = [part["id"] for part in parts]
        except (ValueError, KeyError, TypeError):
            return _error(ServiceError("", "Invalid batch payload format.", 400, "BadRequest"), request)
        if not 0 < len(parts) <= BATCH_REQUESTS_MAX or len(set(ids)) != len(ids):
            return _error(ServiceError("", f"A batch has 1 to {BATCH_REQUESTS_MAX} requests with different ids.", 400,
                                       "BadRequest"), request)
        answers: dict[str, Row] = {}
        for part in parts:
            address = urlsplit(str(part.get("url", "")))
            path = unquote(address.path)
            inner = Request(
                str(part.get("method", "")).upper(), f"{PREFIX}/{path.removeprefix(PREFIX).lstrip('/')}",
                {unquote(name): unquote(value.replace("+", " ")) for name, _, value in
                 (each.partition("=") for each in address.query.split("&") if each)},
                {"authorization": request.headers.get("authorization", ""),
                 **{name.lower(): value for name, value in (part.get("headers") or {}).items()}},
                json.dumps(part["body"]).encode() if part.get("body") is not None else b"", request.origin)
            if any(answers.get(each, {"status": 424})["status"] >= 400 for each in part.get("dependsOn") or ()):
                answers[part["id"]] = {"id": part["id"], "status": 424, "headers": {}, "body": {
                    "error": {"code": "FailedDependency", "message": "A request this one depends on failed."}}}
                continue
            said = self._gate.part(_kind(inner), lambda inner=inner: self._serve(inner))  # type: ignore[misc]
            answers[part["id"]] = {"id": part["id"], "status": said.status, "headers": dict(said.headers)}
            if said.body:
                answers[part["id"]]["body"] = json.loads(said.body)
        return answer(200, {"responses": list(answers.values())})

    # ------------------------------------------------------------------------------------------------ domains

    def _list_domains(self, request: Request, operation: Operation, body: Any) -> Response:
        shown = [each for each in self._tenant.domains.values() if self._tenant.visible(f"domain/{each.name}")]
        return _listing(request, operation, shown, _domain)

    def _add_domain(self, request: Request, operation: Operation, body: Any) -> Response:
        if not isinstance(body.get("id"), str):
            raise ServiceError("", "Property id is required.", 400, "Request_BadRequest")
        return answer(201, _domain(self._tenant.add_domain(body["id"])))

    def _get_domain(self, request: Request, operation: Operation, body: Any) -> Response:
        return answer(200, _selected(request, operation, _domain(self._domain(operation))))

    def _change_domain(self, request: Request, operation: Operation, body: Any) -> Response:
        if not self._domain(operation).verified:
            raise ServiceError("", "The domain is not verified.", 400, "Request_BadRequest")
        if set(body) - {"supportedServices"}:
            raise ServiceError("", "The lab simulates a change of supportedServices only.", 501, "NotImplemented")
        return answer(204)  # mail is among the services of every domain from the start

    def _delete_domain(self, request: Request, operation: Operation, body: Any) -> Response:
        self._tenant.delete_domain(self._domain(operation))
        return answer(204)

    def _verify_domain(self, request: Request, operation: Operation, body: Any) -> Response:
        return answer(200, _domain(self._tenant.verify_domain(self._domain(operation))))

    def _verification_records(self, request: Request, operation: Operation, body: Any) -> Response:
        domain = self._domain(operation)
        number = domain.verification.removeprefix("MS=")
        common: Row = {"isOptional": False, "label": domain.name, "ttl": 3600, "supportedService": ""}
        records = [
            {"@odata.type": "#microsoft.graph.domainDnsTxtRecord", "id": self._tenant.identifier("txt", domain.name),
             "recordType": "Txt", "text": domain.verification, **common},
            {"@odata.type": "#microsoft.graph.domainDnsMxRecord", "id": self._tenant.identifier("mx", domain.name),
             "recordType": "Mx", "mailExchange": f"{number}.msv1.invalid", "preference": 32767, **common},
        ]
        return _listing(request, operation, records if domain.root and not domain.initial else [], dict)

    def _service_records(self, request: Request, operation: Operation, body: Any) -> Response:
        domain = self._domain(operation)
        if not domain.verified:
            raise ServiceError("", "The domain is not verified.", 400, "Request_BadRequest")

        def record(kind: str, label: str, service: str, optional: bool = False, **more: Any) -> Row:
            return {"@odata.type": f"#microsoft.graph.domainDns{kind}Record", "recordType": kind, "label": label,
                    "id": self._tenant.identifier(kind, label, service), "isOptional": optional, "ttl": 3600,
                    "supportedService": service, **more}

        name = domain.name
        return _listing(request, operation, [
            record("Mx", name, "Email", mailExchange=domain.mx_host, preference=0),
            record("Txt", name, "Email", text="v=spf1 include:spf.protection.outlook.com -all"),
            record("Cname", f"autodiscover.{name}", "Email", canonicalName="autodiscover.outlook.com"),
            record("Cname", f"enterpriseregistration.{name}", "Intune", True,
                   canonicalName="enterpriseregistration.windows.net"),
            record("Cname", f"lyncdiscover.{name}", "OfficeCommunicationsOnline", True,
                   canonicalName="webdir.online.lync.com"),
        ], dict)

    def _domain(self, operation: Operation) -> Domain:
        name = operation.arguments["domain_id"].lower()
        found = self._tenant.domains.get(name)
        if found is None or not self._tenant.visible(f"domain/{name}"):
            raise _missing(name)
        return found

    # ------------------------------------------------------------------------------------------- organization

    def _list_organization(self, request: Request, operation: Operation, body: Any) -> Response:
        return _listing(request, operation, [self._organization()], dict)

    def _get_organization(self, request: Request, operation: Operation, body: Any) -> Response:
        if operation.arguments["organization_id"].lower() != self._tenant.id.lower():
            raise _missing(operation.arguments["organization_id"])
        return answer(200, _selected(request, operation, self._organization()))

    def _change_organization(self, request: Request, operation: Operation, body: Any) -> Response:
        if "onPremisesSyncEnabled" in body:  # needs an administrator who signs in, not an app
            raise ServiceError("", "Insufficient privileges to complete the operation.", 403,
                               "Authorization_RequestDenied")
        raise ServiceError("", "The lab does not simulate this change.", 501, "NotImplemented")

    def _organization(self) -> Row:
        tenant = self._tenant
        return {
            "id": tenant.id, "displayName": tenant.initial_domain.partition(".")[0], "tenantType": "AAD",
            "onPremisesSyncEnabled": tenant.sync_enabled, "onPremisesLastSyncDateTime": _when(tenant.last_sync),
            "verifiedDomains": [{"name": d.name, "isDefault": d.initial, "isInitial": d.initial, "type": "Managed",
                                 "capabilities": "Email, OfficeCommunicationsOnline"}
                                for d in tenant.domains.values() if d.verified]}

    # -------------------------------------------------------------------------------------------------- users

    def _list_users(self, request: Request, operation: Operation, body: Any) -> Response:
        shown = [each for each in self._tenant.listed() if each.is_user]
        return _listing(request, operation, shown, self._user, USER_FIELDS)

    def _get_user(self, request: Request, operation: Operation, body: Any) -> Response:
        return answer(200, _selected(request, operation, self._user(self._of(operation)), USER_FIELDS))

    def _change_user(self, request: Request, operation: Operation, body: Any) -> Response:
        user = self._of(operation)
        if set(body) - {"usageLocation"}:
            if user.synced:
                raise ServiceError("", "Unable to update the specified properties for on-premises mastered Directory "
                                       "Sync objects or objects currently undergoing migration.", 400,
                                   "Request_BadRequest")
            if set(body) - {"usageLocation", "userPrincipalName"}:
                raise ServiceError("", "The lab simulates a change of usageLocation and userPrincipalName only.", 501,
                                   "NotImplemented")
            self._tenant.rename_user(user, str(body["userPrincipalName"]))
        location = body.get("usageLocation")
        if location is not None and not re.fullmatch(r"[A-Z]{2}", location):
            raise ServiceError("", "Invalid value specified for property 'usageLocation' of resource 'User'.", 400,
                               "Request_BadRequest")
        if "usageLocation" in body:
            self._tenant.set_usage_location(user, location)
        return answer(204)

    def _assign(self, request: Request, operation: Operation, body: Any) -> Response:
        user, given = self._of(operation), {name.lower(): value for name, value in body.items()}
        add = {}
        for each in given["addlicenses"]:
            if not each.get("skuId"):
                raise ServiceError("", "Property skuId is required.", 400, "Request_BadRequest")
            add[each["skuId"].lower()] = list(each.get("disabledPlans") or ())
        self._tenant.assign(user, add, [each.lower() for each in given["removelicenses"]])
        return answer(200, self._user(user))

    def _licence_details(self, request: Request, operation: Operation, body: Any) -> Response:
        user = self._of(operation)
        skus = [self._tenant.skus[each] for each in user.licences]
        return _listing(request, operation, skus, lambda sku: {
            "id": self._tenant.identifier("licence", user.id, sku.id), "skuId": sku.id,
            "skuPartNumber": sku.part_number, "servicePlans": [EXCHANGE_PLAN | {
                "servicePlanName": self._tenant.exchange_plan(sku.id), "provisioningStatus":
                "Success" if self._tenant.provisioned(user, sku.id) else "PendingProvisioning"}]})

    def _send_mail(self, request: Request, operation: Operation, body: Any) -> Response:
        sender = self._of(operation)
        if not sender.is_mailbox or not sender.licences:
            raise ServiceError("", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.", 404,
                               "MailboxNotEnabledForRESTAPI")
        message = next(value for name, value in body.items() if name.lower() == "message")
        to = [each["emailAddress"]["address"] for name in ("toRecipients", "ccRecipients", "bccRecipients")
              for each in message.get(name) or () if (each.get("emailAddress") or {}).get("address")]
        if not to:
            raise ServiceError("", "At least one recipient isn't valid.", 400, "ErrorInvalidRecipients")
        mark = self._tenant.identifier("sent", len(self._tenant.transport.messages), sender.address)
        message_id = message.get("internetMessageId") or f"<{mark}@{self._tenant.initial_domain}>"
        for address in to:
            self._tenant.transport.send(sender.address, address, message_id, str(message.get("subject") or ""))
        return answer(202)

    def _list_deleted(self, request: Request, operation: Operation, body: Any) -> Response:
        return _listing(request, operation, list(self._tenant.deleted.values()), self._user, USER_FIELDS)

    def _purge(self, request: Request, operation: Operation, body: Any) -> Response:
        self._tenant.purge_user(operation.arguments["directoryobject_id"])
        return answer(204)

    def _delete_user(self, request: Request, operation: Operation, body: Any) -> Response:
        self._tenant.delete_user(self._of(operation))
        return answer(204)

    def _of(self, operation: Operation) -> Recipient:
        name = operation.arguments["user_id"]
        found = self._tenant.find(name)
        # Graph finds a user by its sign-in name or id, not by any proxy address.
        if found is None or not found.is_user or name.lower() not in (found.upn or found.address, found.id):
            raise _missing(name)
        return found

    def _user(self, user: Recipient) -> Row:
        return {
            "id": user.id, "businessPhones": [], "displayName": user.name, "givenName": None, "jobTitle": None,
            "mail": user.address if user.kind != "User" else None, "mobilePhone": None, "officeLocation": None,
            "preferredLanguage": None, "surname": None, "userPrincipalName": user.upn or user.address,
            "userType": "Member",
            "mailNickname": user.alias, "accountEnabled": True, "usageLocation": user.usage_location,
            "proxyAddresses": [] if user.kind == "User" else list(user.proxies),
            "assignedLicenses": [{"skuId": sku, "disabledPlans": plans} for sku, plans in user.licences.items()],
            "licenseAssignmentStates": [{"skuId": sku, "disabledPlans": plans, "state": "Active", "error": "None",
                                         "assignedByGroup": None} for sku, plans in user.licences.items()],
            "onPremisesSyncEnabled": True if user.synced else None, "createdDateTime": _when(user.created),
            "signInActivity": {"lastSignInDateTime": _when(user.used), "lastSuccessfulSignInDateTime": _when(user.used)}
            if user.used else None,
            "onPremisesProvisioningErrors": self._sync_errors(user),
        }

    def _sync_errors(self, user: Recipient) -> list[Row]:
        source = self._tenant.organisation.mailboxes.get(user.address)
        if not user.synced or source is None or not source.sync_error:
            return []
        return [{"category": source.sync_error, "occurredDateTime": _when(user.created),
                 "propertyCausingError": "ProxyAddresses", "value": f"smtp:{user.address}"}]

    # ------------------------------------------------------------------------------------- the rest of the list

    def _list_skus(self, request: Request, operation: Operation, body: Any) -> Response:
        def sku(each: Sku) -> Row:
            return {"id": f"{self._tenant.id}_{each.id}", "accountId": self._tenant.id, "skuId": each.id,
                    "skuPartNumber": each.part_number, "appliesTo": "User", "capabilityStatus": "Enabled",
                    "consumedUnits": self._tenant.seats_used[each.id],
                    "prepaidUnits": {"enabled": each.seats, "suspended": 0, "warning": 0, "lockedOut": 0},
                    "servicePlans": [EXCHANGE_PLAN | {"servicePlanName": self._tenant.exchange_plan(each.id)}],
                    "subscriptionIds": []}
        return _listing(request, operation, list(self._tenant.skus.values()), sku)

    def _list_groups(self, request: Request, operation: Operation, body: Any) -> Response:
        return _listing(request, operation, [g for g in self._tenant.listed() if g.is_group], _group)

    def _get_group(self, request: Request, operation: Operation, body: Any) -> Response:
        return answer(200, _selected(request, operation, _group(self._group_of(operation))))

    def _list_members(self, request: Request, operation: Operation, body: Any) -> Response:
        members = [held for each in self._group_of(operation).members if (held := self._tenant.find(each))]
        return _listing(request, operation, members, lambda each: {
            "@odata.type": "#microsoft.graph.user" if each.is_user else "#microsoft.graph.group", "id": each.id})

    def _group_of(self, operation: Operation) -> Recipient:
        found = self._tenant.find(operation.arguments["group_id"])
        if found is None or not found.is_group or operation.arguments["group_id"].lower() != found.id:
            raise _missing(operation.arguments["group_id"])
        return found

    def _list_principals(self, request: Request, operation: Operation, body: Any) -> Response:
        app = self._tokens.client_id
        row: Row = {"id": self._tenant.identifier("principal", app), "appId": app, "displayName": "mailmove",
                    "accountEnabled": True, "servicePrincipalType": "Application",
                    "appRoles": [], "tags": [], "servicePrincipalNames": [app], "notes": ", ".join(ROLES)}
        return _listing(request, operation, [row], dict)


    def _list_applications(self, request: Request, operation: Operation, body: Any) -> Response:
        tenant, app = self._tenant, self._tokens.client_id
        row: Row = {"id": tenant.identifier("application", app), "appId": app, "displayName": "mailmove",
                    "keyCredentials": [],
                    "passwordCredentials": [{
                        "keyId": tenant.identifier("secret", app), "displayName": "first", "hint": "lab",
                        "secretText": None, "endDateTime": _when(tenant.secret_ends)}]}
        return _listing(request, operation, [row], dict)


# --------------------------------------------------------------------------------------------------------- pieces


def _kind(request: Request) -> str:
    try:
        template = facts.operation(request.method, request.path.removeprefix(PREFIX), {}).template
    except ServiceError:
        template = "other"
    return f"graph {request.method} {template}"


def _listing(request: Request, operation: Operation, rows: Sequence[Any], render: Callable[[Any], Row],
             default: Sequence[str] | None = None) -> Response:
    """One page. Only its rows are rendered; a filter is one comparison, `name eq value`."""
    names = _select(request, operation) or default
    if "$filter" in request.query:
        rows = _filter(request.query["$filter"], operation, rows, render)
    for option in ("$search", "$orderby", "$expand", "$skip"):
        if option in request.query:
            raise ServiceError("", f"The lab does not simulate {option} here.", 501, "NotImplemented")
    top, token = request.query.get("$top", str(PAGE_ROWS)), request.query.get("$skiptoken", "0")
    if not top.isdigit() or not 1 <= int(top) <= PAGE_ROWS_MAX:
        raise ServiceError("", f"Invalid page size specified: '{top}'. Must be between 1 and "
                               f"{PAGE_ROWS_MAX} inclusive.", 400, "Request_UnsupportedQuery")
    if not token.isdigit():
        raise ServiceError("", "The skip token is not valid.", 400, "Directory_ExpiredPageToken")
    start, size = int(token), int(top)
    shown = [render(row) for row in rows[start:start + size]]
    if names is not None:
        shown = [{name: row.get(name) for name in names} for row in shown]
    document: Row = {"@odata.context": f"{request.origin}{PREFIX}/$metadata#{operation.template.strip('/')}"}
    if request.query.get("$count") == "true":
        document["@odata.count"] = len(rows)
    if start + size < len(rows):
        query = urlencode({**request.query, "$skiptoken": start + size}, safe="$,")
        document["@odata.nextLink"] = f"{request.origin}{request.path}?{query}"
    document["value"] = shown
    return answer(200, document)


def _selected(request: Request, operation: Operation, row: Row, default: Sequence[str] | None = None) -> Row:
    names = _select(request, operation) or default
    return row if names is None else {name: row.get(name) for name in names}


def _select(request: Request, operation: Operation) -> list[str] | None:
    if "$select" not in request.query:
        return None
    names = [each.strip() for each in request.query["$select"].split(",") if each.strip()]
    known = facts.properties(operation.returns) if operation.returns else {}
    for name in names:
        if name not in known:
            raise ServiceError("", f"Could not find a property named '{name}' on type '{operation.returns}'.", 400,
                               "BadRequest")
    return names


def _filter(text: str, operation: Operation, rows: Sequence[Any], render: Callable[[Any], Row]) -> list[Any]:
    found = re.fullmatch(r"\s*(\w+) (eq|ne) (?:'((?:[^']|'')*)'|(true|false|null))\s*", text)
    each = re.fullmatch(r"\s*(\w+)/any\((\w+):\2 eq '((?:[^']|'')*)'\)\s*", text)
    known = facts.properties(operation.returns) if operation.returns else {}
    if (found or each) is None or (found or each)[1] not in known:  # type: ignore[index]
        raise ServiceError("", f"Unsupported or invalid query filter clause specified: {text}", 400,
                           "Request_UnsupportedQuery")
    if each is not None:
        wanted = each[3].replace("''", "'").lower()
        return [row for row in rows if wanted in [str(value).lower() for value in render(row).get(each[1]) or ()]]
    assert found is not None
    literal = {"true": True, "false": False, "null": None}
    value = literal[found[4]] if found[4] else found[3].replace("''", "'").lower()

    def equal(row: Any) -> bool:
        shown = render(row).get(found[1])
        return bool((shown.lower() if isinstance(shown, str) else shown) == value)

    return [row for row in rows if equal(row) == (found[2] == "eq")]


def _domain(domain: Domain) -> Row:
    return {"id": domain.name, "authenticationType": domain.authentication, "availabilityStatus": None,
            "isAdminManaged": True,
            "isDefault": domain.initial, "isInitial": domain.initial, "isRoot": domain.root,
            "isVerified": domain.verified, "passwordNotificationWindowInDays": 14,
            "passwordValidityPeriodInDays": 2147483647, "state": None,
            "supportedServices": ["Email", "OfficeCommunicationsOnline"] if domain.verified else []}


def _group(group: Recipient) -> Row:
    return {"id": group.id, "displayName": group.name, "mail": group.address, "mailEnabled": True,
            "mailNickname": group.alias, "securityEnabled": group.details == "MailUniversalSecurityGroup",
            "groupTypes": [], "proxyAddresses": list(group.proxies), "onPremisesSyncEnabled": group.synced or None,
            "createdDateTime": _when(group.created)}


def _missing(name: str) -> ServiceError:
    return ServiceError("", f"Resource '{name}' does not exist or one of its queried reference-property objects are "
                            "not present.", 404, "Request_ResourceNotFound")


def _error(error: ServiceError, request: Request) -> Response:
    # Request ids are drawn from nothing: whoever compares two runs leaves them out.
    request_id = str(uuid.uuid5(uuid.NAMESPACE_URL, request.path + error.text))
    return answer(error.status, {"error": {"code": error.code, "message": error.text, "innerError": {
        "request-id": request_id, "client-request-id": request.headers.get("client-request-id", request_id)}}},
        {"request-id": request_id})


def _when(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None
