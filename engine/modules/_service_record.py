"""What mx_switch and autodiscover share: a record set whose values only the tenant decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from engine.connections import Site
from engine.contract import Diff, Fault, Outlook, Plain, Rejected, State, Unknown, Waiting
from engine.modules._record_set import RecordSet
from engine.modules.base import Module, Reading


class OfDomain(Protocol):
    """A module on a mail domain of the tenant's."""

    def mail_domain(self) -> str: ...


#: From a tenant's service records to the values they demand; None where it demands none.
Demand = Callable[[Mapping[str, Any]], "tuple[str, ...] | None"]


@dataclass(frozen=True, kw_only=True)
class ServiceRecord(RecordSet):
    """State has `service_values` beside what DNS shows: None while the tenant has not verified the domain."""

    decided: ClassVar[frozenset[str]] = frozenset({"service_values"})

    def mail_domain(self) -> str:
        """The domain as the tenant knows it: lower case, no trailing dot."""
        raise NotImplementedError

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is not None and state.get("service_values") is None:
            return Waiting(f"the tenant names no record for {self.mail_domain()} yet: it is not verified there")
        return super().outlook(state, diff)

    def demanded(self, site: Site, diff: Diff, demand: Demand) -> tuple[str, ...]:
        """The values to write: those that were read, else asked for now. Raises Rejected when there are none."""
        found: Plain | Unknown = (diff.before or {}).get("service_values")
        if not isinstance(found, tuple):
            found = services(site, [self], demand).get(self.mail_domain())
        if isinstance(found, Unknown):
            raise Rejected("graph", found.reason)
        if not isinstance(found, tuple):
            raise Rejected("graph", f"the tenant names no record for {self.mail_domain()}",
                           remedy="verify the domain first (tenant_domain)")
        return tuple(map(str, found))


def services(site: Site, modules: Sequence[OfDomain], demand: Demand) -> dict[str, tuple[str, ...] | Unknown | None]:
    """What the tenant demands, by domain; None for one it does not know or has not verified."""
    known = site.graph.domains()
    asked = [module.mail_domain() for module in modules]
    verified = [domain for domain in dict.fromkeys(asked) if domain in known and known[domain].verified]
    answers = site.graph.service_records_of(verified) if verified else {}
    found: dict[str, tuple[str, ...] | Unknown | None] = dict.fromkeys(asked)
    for domain, answer in answers.items():
        found[domain] = Unknown.of(answer) if isinstance(answer, Fault) else demand(answer)
    return found


def with_services(site: Site, modules: Sequence[Module], states: Mapping[str, Reading],
                  demand: Demand) -> Mapping[str, Reading]:
    """The states read from DNS, each with what the tenant demands; absent stays absent."""
    ours = [module for module in modules if isinstance(module, ServiceRecord)]
    wanted = services(site, ours, demand)
    found: dict[str, Reading] = {}
    for module in ours:
        state, values = states[module.key()], wanted[module.mail_domain()]
        if isinstance(state, Unknown) or state is None:
            found[module.key()] = state
        else:
            found[module.key()] = values if isinstance(values, Unknown) else {**state, "service_values": values}
    return found
