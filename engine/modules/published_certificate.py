"""published_certificate: the source's public names carry a certificate that the migration service believes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.records import host_problem
from engine.contract import Diff, Handover, State, Want
from engine.modules._powershell import quoted, script, steps
from engine.modules.base import Effect, Module, Reads, Undo
from engine.modules.outlook_anywhere import Release


@dataclass(frozen=True, kw_only=True)
class PublishedCertificate(Module):
    """A published name's certificate is a public authority's, sent with its chain, in date, made for all names (B-04).

    `names` are further names it must cover: a cutover needs `autodiscover.` of each domain beside the proxy's (C-08).
    A handshake of TLS 1.2 or newer is part of it. Each fault has its own sentence in `faults`; `warning` says when
    it ends within 30 days. Buying one is a person's work: what to type before and after is handed over.
    """

    host: Annotated[str, "The published name, as in mail.contoso.com."]
    names: Annotated[tuple[str, ...], "Further names the same certificate must cover."] = ()
    exchange: Annotated[Release, "Release of the server; decides the lines handed over."]

    family: ClassVar[str] = "certificate"
    public: ClassVar[frozenset[str]] = frozenset({
        "faults", "issuer", "names", "not_after", "protocol", "thumbprint", "warning"})
    connection: ClassVar[str] = "published"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "compensate"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=1)

    def key(self) -> str:
        return f"certificate/{self.host.lower()}" + (f"/{'+'.join(self._further())}" if self.names else "")

    def problems(self) -> Iterator[str]:
        for field, value in (("host", self.host), *(("names", each) for each in self.names)):
            if bad := host_problem(value):
                yield f"{field}: {bad}"

    def want(self) -> Want:
        return {"faults": ()}

    def read(self, site: Site) -> State:
        found = site.published.certificate(self.host)
        if found.unreached:
            return {"faults": (f"no certificate was shown: {found.unreached}",)}
        now = site.world.clock.now()
        missing = tuple(f"it is not made for {each} (it names {', '.join(found.names) or 'nobody'})"
                        for each in (self.host.lower(), *self._further()) if not found.covers(each))
        state: dict[str, Any] = {
            "faults": found.faults + missing, "names": found.names, "issuer": found.issuer,
            "not_after": found.not_after, "protocol": found.protocol, "thumbprint": found.thumbprint}
        if found.ends_soon(now) and found.not_after is not None:
            state["warning"] = f"it ends on {found.not_after:%Y-%m-%d}, in {(found.not_after - now).days} days"
        return state

    def by_hand(self, site: Site) -> bool:
        return True

    def apply(self, site: Site, diff: Diff) -> Handover:
        before = diff.before or {}
        faults = before.get("faults")
        wrong = [f"# {each}" for each in faults] if isinstance(faults, tuple) else []
        every = (self.host.lower(), *self._further())
        old = quoted(str(before.get("thumbprint") or "<old>"))
        title = f"Give {self.host} a certificate of a public authority"
        if self.exchange == "2003":
            return Handover("text", title, steps(
                f"The certificate of {self.host}:", *(each.removeprefix("# ") for each in wrong),
                "1. IIS Manager, Default Web Site, Directory Security, Server Certificate: prepare a request now, "
                f"for {', '.join(every)}.",
                "2. Let a public authority sign it; import it with its intermediate certificates (Process the pending "
                "request).",
                "3. Windows Server 2003 speaks TLS 1.0 at most: put a reverse proxy in front that speaks TLS 1.2."))
        return Handover("powershell", title, script(
            "# In the Exchange Management Shell of the published server:", *wrong,
            "# 1. The request, to be signed by a public authority:",
            f"New-ExchangeCertificate -GenerateRequest -SubjectName {quoted('cn=' + every[0])} -DomainName "
            f"{', '.join(map(quoted, every))} -PrivateKeyExportable $true",
            "# 2. Import-ExchangeCertificate with what the authority sent, its intermediate certificates beside it.",
            "# 3. Put it on the web site; the thumbprint is the one the import shows:",
            "Enable-ExchangeCertificate -Thumbprint '<thumbprint>' -Services IIS",
            f"# The way back: Enable-ExchangeCertificate -Thumbprint {old} -Services IIS",
            *(("# Windows Server 2008 speaks TLS 1.0 at most: put a reverse proxy in front that speaks TLS 1.2.",)
              if self.exchange == "2007" else ())))

    def restored(self, before: State | None, state: State | None) -> Want:
        return {"thumbprint": (before or {}).get("thumbprint")}

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover:
        return Handover("powershell" if self.exchange > "2003" else "text",
                        f"Give {self.host} its old certificate back", script(
            f"Enable-ExchangeCertificate -Thumbprint {quoted(str((before or {}).get('thumbprint')))} -Services IIS"))

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        return "" if (before or {}).get("thumbprint") else "no certificate was shown before"

    def _further(self) -> tuple[str, ...]:
        return tuple(sorted({each.lower() for each in self.names} - {self.host.lower()}))
