"""connection_proof: the source is reached from outside before the service tries, or that is recorded as skipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from engine.connections import Site
from engine.connections.autodiscover import host_of, told
from engine.connections.published import AUTODISCOVER, RPC_PROXY
from engine.connections.records import host_problem
from engine.contract import Diff, Failing, Outlook, State, Want
from engine.modules.base import Effect, Module, Reads, Undo


@dataclass(frozen=True, kw_only=True)
class ConnectionProof(Module):
    """A look from outside that has passed just now: Outlook Anywhere, Autodiscover and the certificate (B-05, B-22).

    It is looked at anew until a later task of the row builds on it, so what is built upon is never old. `way: skipped`
    is allowed and is recorded as skipped. Other proofs (Outlook from outside, Microsoft Remote Connectivity Analyzer)
    are a `checklist` with the saved report as evidence.
    """

    host: Annotated[str, "Public name of the Outlook Anywhere proxy."]
    autodiscover_host: Annotated[str, "Where the service would ask Autodiscover; empty: it is not used."] = ""
    email_address: Annotated[str, "A mailbox of the source: Autodiscover is asked for its settings, as the service "
                                  "does (B-22); empty: the service is told them by hand."] = ""
    way: Annotated[Literal["probe", "skipped"], "How it is proven."] = "probe"
    before: Annotated[str, "What the proof is for, as in a batch's name: each has its own."] = ""

    family: ClassVar[str] = "connection_proof"
    public: ClassVar[frozenset[str]] = frozenset({"at", "result", "wrong"})
    connection: ClassVar[str] = "published"
    effect: ClassVar[Effect] = "observe"
    undo: ClassVar[Undo] = "none"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(hours=1)

    def key(self) -> str:
        return f"connection_proof/{self.host.lower()}" + (f"/{self.before}" if self.before else "")

    def problems(self) -> Iterator[str]:
        for field in ("host", "autodiscover_host"):
            value = getattr(self, field)
            if (value or field == "host") and (bad := host_problem(value)):
                yield f"{field}: {bad}"

    def want(self) -> Want:
        return {"result": "passed" if self.way == "probe" else "skipped"}

    def read(self, site: Site) -> State:
        now = site.world.clock.now()
        if self.way == "skipped":
            return {"result": "skipped", "at": now}
        proxy = site.published.asked(self.host, RPC_PROXY)
        wrong = [] if proxy.published else [f"Outlook Anywhere at {self.host}: {proxy.words}"]
        certificate = site.published.certificate(self.host) if proxy.addresses else None
        if certificate is not None:
            wrong += [f"certificate of {self.host}: {each}" for each in certificate.faults]
            if not certificate.unreached and not certificate.covers(self.host):
                wrong.append(f"certificate of {self.host}: it is not made for this name")
        state: dict[str, Any] = {"at": now}
        host = self.autodiscover_host or (host_of(self.email_address) if self.email_address else "")
        if host:
            found = site.published.asked(host, AUTODISCOVER)
            if not found.published:
                wrong.append(f"Autodiscover at {host}: {found.words}")
            elif self.email_address:
                settings = told(site, host, self.email_address)
                state["settings"] = settings.words if settings.asked else f"not asked: {settings.words}"
                if settings.asked and not settings.proxy:
                    wrong.append(f"Autodiscover of {self.email_address}: {settings.words}")
        return state | {"result": "failed" if wrong else "passed", "wrong": tuple(wrong)}

    def remark(self, state: State | None) -> str:
        """B-22: look at what was found, and go on."""
        found = (state or {}).get("settings")
        return f"Autodiscover: {found}" if found else ""

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        wrong = (state or {}).get("wrong")
        if isinstance(wrong, tuple) and wrong:
            by_hand = any(str(each).startswith("Autodiscover of ") for each in wrong)
            return Failing("; ".join(map(str, wrong)),
                           "mend it and retry, or give the names by hand: source_autodiscover: \"false\", "
                           "exchange_server and rpc_proxy_server in the inventory (B-23)" if by_hand else
                           "mend it and retry, or record that it is not proven with way: skipped", retry=False)
        return None
