"""mx_switch: mail for a domain goes to Microsoft 365, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from engine.connections import Site
from engine.connections.records import host
from engine.contract import Diff, Handover, SameAs, State, Want
from engine.modules._record_set import TTL_NEW, RecordSet, held, place, primary
from engine.modules._service_record import ServiceRecord, with_services
from engine.modules.base import Module, Reading


@dataclass(frozen=True, kw_only=True)
class MxSwitch(ServiceRecord):
    """The MX set of a domain is exactly what the tenant demands, on every authoritative server (B-41, S-35).

    Host and preference are read from Microsoft Graph and never computed. The TTL stays as it is. The engine's guard
    holds it back until every mailbox of the domain is ready.
    """

    domain: Annotated[str, "The mail domain."]
    zone: Annotated[str, "The zone it lies in."]

    def record(self) -> tuple[str, str, str]:
        return (*place(self.domain, self.zone), "MX")

    def mail_domain(self) -> str:
        return host(self.domain).rstrip(".")

    def want(self) -> Want:
        return {"values": SameAs("service_values")}

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        return with_services(site, modules, RecordSet.read_many(site, modules), _demand)

    def loses(self, before: State | None, state: State | None) -> Sequence[str]:
        return ("mail that went straight to the cloud meanwhile stays there",
                "other mail systems may use the cloud's MX until its TTL has run out")

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        ttl = (primary(diff.before) or {}).get("ttl")
        values = self.demanded(site, diff, _demand)
        return site.dns.replace(*self.record(), values, ttl if isinstance(ttl, int) else TTL_NEW, held(diff))


def _demand(records: Mapping[str, Any]) -> tuple[str, ...] | None:
    return (f"{records['mx_preference']} {records['mx_host']}",) if records.get("mx_host") else None
