"""tenant_domain: a mail domain the tenant knows, and has seen proof of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from engine.connections import Site
from engine.contract import AtLeast, Diff, Fault, State, Unknown, Want
from engine.modules.base import Effect, Module, Reading, Undo

if TYPE_CHECKING:
    from engine.connections.graph_objects import Domain

LADDER = ("present", "verified")
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")


@dataclass(frozen=True, kw_only=True)
class TenantDomain(Module):
    """Make a domain known to the tenant, or verified by it (B-11 to B-17).

    Its state shows what to publish in DNS: before it `verification_txt` or, where a zone takes no TXT,
    `verification_mx`; after it `mx_host` and `autodiscover_host`.
    A verification that fails is tried again: DNS takes its time.
    """

    domain: Annotated[str, "The mail domain in A-label form, as in contoso.com."]
    state: Annotated[Literal["present", "verified"], "How far the tenant must know it."] = "verified"

    family: ClassVar[str] = "domain"
    public: ClassVar[frozenset[str]] = frozenset({
        "authentication", "autodiscover_host", "mx_host", "state", "verification_label", "verification_mx",
        "verification_txt"})
    connection: ClassVar[str] = "graph"
    effect: ClassVar[Effect] = "create"
    undo: ClassVar[Undo] = "compensate"
    rights: ClassVar[tuple[str, ...]] = ("Domain.ReadWrite.All",)
    decided: ClassVar[frozenset[str]] = frozenset(
        {"verification_txt", "verification_mx", "verification_label", "mx_host", "autodiscover_host", "authentication"})

    def key(self) -> str:
        return f"domain/{self._name()}"

    def problems(self) -> Iterator[str]:
        if not _DOMAIN.fullmatch(self._name()):
            yield "domain: not a domain name in A-label form (RFC 5890, section 2.3.2.1)"
        if self._name().endswith(".onmicrosoft.com"):
            yield "domain: the tenant's own onmicrosoft.com domain is always there and needs no proof"

    def want(self) -> Want:
        return {"state": AtLeast(self.state, LADDER)}

    def apply(self, site: Site, diff: Diff) -> None:
        if diff.before is None:
            site.graph.add_domain(self._name())
        if self.state == "verified":
            site.graph.verify_domain(self._name())

    def restore(self, site: Site, diff: Diff, before: State | None) -> None:
        """A verification is taken back by removing the domain; one that was known before is made known again."""
        if diff.before is not None:
            site.graph.delete_domain(self._name())
        if before is not None:
            site.graph.add_domain(self._name())

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        """B-11: only a domain that no object uses can be removed."""
        users = sorted({user.address for user in site.graph.users().values()
                        if any(each.endswith(f"@{self._name()}") for each in (user.address, user.upn, *user.proxies))})
        return "" if not users else f"{len(users)} user(s) of the tenant use {self._name()}, {users[0]} first"

    def loses(self, before: State | None, state: State | None) -> Sequence[str]:
        return ("a domain made known again may get another proof text",) if before is not None else ()

    def _name(self) -> str:
        return self.domain.lower().rstrip(".")

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        """One listing of the domains, and their records twenty a call."""
        known = site.graph.domains()
        asked = {module.key(): module.key().partition("/")[2] for module in modules}
        there = [known[name] for name in dict.fromkeys(asked.values()) if name in known]
        proofs = site.graph.verification_records_of([each.name for each in there])
        services = site.graph.service_records_of([each.name for each in there if each.verified])
        return {key: _state(known[name], proofs[name], services.get(name, {})) if name in known else None
                for key, name in asked.items()}


def _state(domain: Domain, proof: Mapping[str, str] | Fault, services: Mapping[str, Any] | Fault) -> State | Unknown:
    for fault in (proof, services):
        if isinstance(fault, Fault):
            return Unknown.of(fault)
    assert isinstance(proof, Mapping) and isinstance(services, Mapping)
    return {"state": "verified" if domain.verified else "present",
            "verification_txt": proof.get("txt"), "verification_mx": proof.get("mx"),
            "verification_label": proof.get("label"),
            "mx_host": services.get("mx_host"), "autodiscover_host": services.get("autodiscover_host"),
            "authentication": domain.authentication}
