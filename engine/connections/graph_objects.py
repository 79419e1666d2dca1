"""What Microsoft Graph shows of domains, users, licences and the organisation, and how its answers are read.

Each `…_of` raises Rejected where an answer has another form than the Microsoft Graph REST API reference says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.connections.answers import shaped
from engine.connections.migration_objects import moment

#: Service plans that give a mailbox, by the beginning of their names, and two that look like it and do not
#: ("Product names and service plan identifiers for licensing").
MAILBOX_PLAN = "EXCHANGE_"
NOT_A_MAILBOX_PLAN = ("EXCHANGE_S_FOUNDATION", "EXCHANGE_S_ARCHIVE", "EXCHANGE_ANALYTICS")


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of the tenant; `name` in A-label form."""

    name: str
    verified: bool
    authentication: str
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    """A user of the tenant. `licences` are SKU ids; `proxies` lower-case addresses without their prefix.

    sync_errors   what directory synchronisation could not write: "PropertyConflict: ProxyAddresses: anna@…"
    """

    id: str
    address: str
    upn: str
    licences: frozenset[str]
    usage_location: str | None
    proxies: tuple[str, ...]
    synced: bool
    #: SKU id → the error of an assignment that a group or a person made and that did not take ("CountViolation")
    licence_errors: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    sync_errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sku:
    """A product the tenant has bought. `mailbox`: it brings an Exchange Online mailbox, by these service plans."""

    id: str
    part_number: str
    enabled: int
    consumed: int
    mailbox: bool
    plans: tuple[str, ...] = ()

    @property
    def free(self) -> int:
        return max(0, self.enabled - self.consumed)


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret or certificate of an app registration, as far as it may be shown."""

    kind: str
    name: str
    ends: datetime | None


@dataclass(frozen=True, slots=True)
class Organization:
    """The tenant. `sync_enabled` None: directory synchronisation was never on."""

    id: str
    name: str
    sync_enabled: bool | None
    last_sync: datetime | None


def _host(text: Any) -> str | None:
    return f"{str(text).lower().rstrip('.')}." if text else None


@shaped("graph")
def organization_of(found: Mapping[str, Any]) -> Organization:
    enabled = found.get("onPremisesSyncEnabled")
    if enabled is not None and not isinstance(enabled, bool):
        raise TypeError("neither true nor false")
    return Organization(str(found.get("id") or "").lower(), str(found.get("displayName") or ""), enabled,
                        moment(found.get("onPremisesLastSyncDateTime")))


@shaped("graph")
def domain_of(found: Mapping[str, Any]) -> Domain:
    return Domain(str(found.get("id") or "").lower(), found.get("isVerified") is True,
                  str(found.get("authenticationType") or ""), tuple(found.get("supportedServices") or ()))


@shaped("graph")
def verification_of(records: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for record in records:
        kind = str(record.get("recordType") or "").lower()
        if kind == "txt" and record.get("text"):
            found |= {"txt": str(record["text"]), "label": str(record.get("label") or "").lower(),
                      "ttl": str(record.get("ttl") or "")}
        elif kind == "mx" and record.get("mailExchange"):
            found["mx"] = f"{int(record.get('preference') or 0)} {_host(record['mailExchange'])}"
    return found if "txt" in found else {}


@shaped("graph")
def service_of(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {"mx_host": None, "mx_preference": None, "autodiscover_host": None, "spf": None}
    for record in records:
        if record.get("supportedService") != "Email":
            continue
        match str(record.get("recordType") or "").lower():
            case "mx":
                found["mx_host"] = _host(record.get("mailExchange"))
                found["mx_preference"] = int(record.get("preference") or 0)
            case "txt" if str(record.get("text") or "").startswith("v=spf1"):
                found["spf"] = str(record["text"])
            case "cname" if str(record.get("label") or "").lower().startswith("autodiscover"):
                found["autodiscover_host"] = _host(record.get("canonicalName"))
    return found


@shaped("graph")
def user_of(found: Mapping[str, Any]) -> User:
    upn = str(found.get("userPrincipalName") or "").lower()
    proxies = [str(each) for each in found.get("proxyAddresses") or () if str(each).lower().startswith("smtp:")]
    primary = next((each[5:].lower() for each in proxies if each.startswith("SMTP:")), "")
    licences = frozenset(str(each.get("skuId")) for each in found.get("assignedLicenses") or ())
    location = str(found.get("usageLocation") or "").upper()
    return User(str(found.get("id") or ""), primary or str(found.get("mail") or "").lower() or upn, upn, licences,
                location or None, tuple(each[5:].lower() for each in proxies),
                found.get("onPremisesSyncEnabled") is True,
                {str(each.get("skuId")): str(each.get("error")) for each in found.get("licenseAssignmentStates") or ()
                 if str(each.get("state") or "").lower().endswith("error")},
                moment(found.get("createdDateTime")),
                tuple(_sync_error(each) for each in found.get("onPremisesProvisioningErrors") or ()))


@shaped("graph")
def last_sign_in_of(found: Mapping[str, Any]) -> datetime | None:
    activity = found.get("signInActivity") or {}
    return moment(activity.get("lastSuccessfulSignInDateTime") or activity.get("lastSignInDateTime"))


@shaped("graph")
def credentials_of(found: Mapping[str, Any]) -> list[Credential]:
    return [Credential(kind, str(each.get("displayName") or ""), moment(each.get("endDateTime")))
            for kind, name in (("secret", "passwordCredentials"), ("certificate", "keyCredentials"))
            for each in found.get(name) or ()]


@shaped("graph")
def mailbox_plan_of(details: Sequence[Mapping[str, Any]]) -> str:
    """The best standing of the mailbox plans among a user's licences."""
    standings = [str(plan.get("provisioningStatus") or "") for each in details
                 for plan in each.get("servicePlans") or () if _brings_mailbox(str(plan.get("servicePlanName") or ""))]
    return next((each for each in standings if each == "Success"), standings[0] if standings else "")


def _brings_mailbox(plan: str) -> bool:
    return plan.startswith(MAILBOX_PLAN) and not plan.startswith(NOT_A_MAILBOX_PLAN)


def _sync_error(found: Mapping[str, Any]) -> str:
    said = (found.get("category"), found.get("propertyCausingError"), found.get("value"))
    return ": ".join(str(each) for each in said if each)


def is_usable(found: Mapping[str, Any]) -> bool:
    return found.get("capabilityStatus") in ("Enabled", "Warning") and found.get("appliesTo", "User") == "User"


@shaped("graph")
def sku_of(found: Mapping[str, Any]) -> Sku:
    units = found.get("prepaidUnits") or {}
    plans = [str(each.get("servicePlanName") or "") for each in found.get("servicePlans") or ()]
    # A product that shows no plans at all is not known to lack the mailbox.
    brings = tuple(plan for plan in plans if _brings_mailbox(plan))
    mailbox = not plans or bool(brings)
    return Sku(str(found.get("skuId") or ""), str(found.get("skuPartNumber") or ""),
               int(units.get("enabled") or 0) + int(units.get("warning") or 0),
               int(found.get("consumedUnits") or 0), mailbox, brings)
