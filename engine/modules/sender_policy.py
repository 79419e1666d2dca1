"""sender_policy: the domain's sender policy (SPF) lets Microsoft 365 send for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from engine.connections import Site
from engine.connections.records import host, spf_problem
from engine.contract import Change, Diff, Failing, Handover, Outlook, Rejected, State, Unknown, Waiting, Want
from engine.modules._record_set import RecordSet, held, place, primary, texts
from engine.modules._service_record import services
from engine.modules.base import Module, Reading


@dataclass(frozen=True, kw_only=True)
class SenderPolicy(RecordSet):
    """Add to the domain's SPF policy what the tenant demands (B-41), and leave every other sender in it.

    The terms are read from Microsoft Graph. They are put before `all`, so that source and cloud may both send while
    mailboxes move; what no longer sends is taken out by a person later. A domain without a policy is left without
    one: a new policy would have to name every sender, and only its owner knows them.
    """

    domain: Annotated[str, "The mail domain."]
    zone: Annotated[str, "The zone it lies in."]

    def record(self) -> tuple[str, str, str]:
        return (*place(self.domain, self.zone), "TXT")

    def mail_domain(self) -> str:
        return host(self.domain).rstrip(".")

    def want(self) -> Want:
        return {"missing": ()}

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        ours = [module for module in modules if isinstance(module, SenderPolicy)]
        demanded = services(site, ours, _demand)
        found: dict[str, Reading] = {}
        for key, state in RecordSet.read_many(site, ours).items():
            domain = next(each.mail_domain() for each in ours if each.key() == key)
            terms = demanded[domain]
            if isinstance(state, Unknown):
                found[key] = state
            else:
                found[key] = terms if isinstance(terms, Unknown) else _judged(state, terms)
        return found

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is not None and state.get("missing") is None:
            return Waiting(f"the tenant names no sender policy for {self.mail_domain()} yet: it is not verified there")
        if state is not None and len(policies(texts(state.get("values")))) > 1:
            return Failing(f"{self.domain} has two sender policies: receivers heed neither (RFC 7208, section 3.2)",
                           "merge them into one and try again", retry=False)
        return super().outlook(state, diff)

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        before = primary(diff.before) or {}
        values, ttl = held(diff), before.get("ttl")
        found = policies(values)
        if len(found) != 1:
            raise Rejected("dns", f"{self.domain} has {len(found) or 'no'} sender policies",
                           remedy="keep one TXT value that begins with v=spf1")
        policy = extended(found[0], texts((diff.before or {}).get("missing")))
        if wrong := spf_problem((policy,)):
            raise Rejected("dns", f"{self.domain} would get {wrong}",
                           remedy="take senders out of the policy that no longer send, and try again")
        kept = tuple(policy if each == found[0] else each for each in values)
        return site.dns.replace(*self.record(), kept, ttl if isinstance(ttl, int) else 3600, values)

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """Today's values, the policy without the terms it lacked before us: others' terms and values stay."""
        now, ours = texts((primary(state) or {}).get("values")), texts((primary(before) or {}).get("missing"))
        if not now or not ours:
            return {}
        return {"values": tuple(sorted(reduced(each, ours) if policies((each,)) else each for each in now))}

    def changed_since(self, before: State | None, left: State | None, state: State | None) -> tuple[Change, ...]:
        """Only our own terms are taken out again, so nobody's later work can be lost."""
        return ()


def policies(values: Sequence[str]) -> list[str]:
    return [value for value in values if value.lower().split(" ")[0] == "v=spf1"]


def extended(policy: str, terms: Sequence[str]) -> str:
    """The policy with more terms, before the one that decides the rest (RFC 7208, sections 5.1 and 6.1)."""
    words = policy.split()
    last = next((place for place, word in enumerate(words)
                 if word.lstrip("+-~?").lower() == "all" or word.lower().startswith("redirect=")), len(words))
    return " ".join((*words[:last], *terms, *words[last:]))


def reduced(policy: str, terms: Sequence[str]) -> str:
    """The policy without these terms."""
    ours = {term.lower() for term in terms}
    return " ".join(word for word in policy.split() if word.lstrip("+").lower() not in ours)


def _judged(state: State | None, terms: Sequence[str] | None) -> State:
    """What is missing on the slowest server; nothing where there is no policy, None while the tenant names no terms."""
    if state is None:
        state = {"values": (), "ttl": None, "agree": True}
    if terms is None:
        return {**state, "missing": None}
    judged = {**state, "missing": _missing(texts(state["values"]), terms)}
    if "primary_values" in state:
        judged["primary_missing"] = _missing(texts(state["primary_values"]), terms)
    return judged


def _missing(values: Sequence[str], terms: Sequence[str]) -> tuple[str, ...]:
    found = policies(values)
    there = {word.lstrip("+").lower() for word in found[0].split()} if found else None
    return () if there is None else tuple(term for term in terms if term.lower() not in there)


def _demand(records: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The mechanisms of the tenant's own policy, without the one that decides the rest."""
    if not records.get("spf"):
        return None
    return tuple(word for word in str(records["spf"]).split()[1:] if word.lstrip("+-~?").lower() != "all")
