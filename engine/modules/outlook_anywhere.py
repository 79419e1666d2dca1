"""outlook_anywhere: the source answers under its public name, which is how the migration service reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.connections.records import host_problem
from engine.contract import Diff, Handover, Includes, State, Want
from engine.modules._powershell import quoted, script, steps
from engine.modules.base import Effect, Module, Reads, Undo

Release = Literal["2003", "2007", "2010", "2013", "2016", "2019"]
#: What the HTTP offer is called where the endpoint says Basic or NTLM (New-MigrationEndpoint, -Authentication).
_OFFERED = {"basic": "Basic", "ntlm": "NTLM"}
#: The virtual directory, as every release names it.
_DIRECTORY = "Rpc (Default Web Site)"


@dataclass(frozen=True, kw_only=True)
class OutlookAnywhere(Module):
    """RPC over HTTP is published: `https://HOST/rpc/rpcproxy.dll` asks who is calling (B-03, C-09, B-23).

    The name is looked up in public DNS and asked without credentials. 401 with the wanted sign-in is what it should be;
    404, silence, a failed handshake or no public address is not. Then the lines for the source's release are handed to
    a person, and the next look settles it.
    """

    host: Annotated[str, "Public name of the Outlook Anywhere proxy, normally that of Outlook Web App."]
    exchange: Annotated[Release, "Release of the server behind it; decides the lines handed over."]
    server: Annotated[str, "The Client Access server's own name, for these lines."] = ""
    authentication: Annotated[Literal["basic", "ntlm"], "How the endpoint signs in; Microsoft's default is basic."] = (
        "basic")

    family: ClassVar[str] = "outlook_anywhere"
    public: ClassVar[frozenset[str]] = frozenset({"addresses", "answer", "published", "sign_ins"})
    connection: ClassVar[str] = "published"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "compensate"
    reads: ClassVar[Reads] = "each"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=1)

    def key(self) -> str:
        return f"outlook_anywhere/{self.host.lower()}"

    def problems(self) -> Iterator[str]:
        if bad := host_problem(self.host):
            yield f"host: {bad} (B-23)"

    def want(self) -> Want:
        return {"published": True, "sign_ins": Includes((_OFFERED[self.authentication],))}

    def read(self, site: Site) -> State:
        found = site.published.asked(self.host)
        return {"published": found.published, "sign_ins": found.sign_ins, "answer": found.words,
                "addresses": found.addresses}

    def by_hand(self, site: Site) -> bool:
        return True

    def apply(self, site: Site, diff: Diff) -> Handover:
        seen = str((diff.before or {}).get("answer") or "not looked at")
        server = (self.server or self.host).partition(".")[0].upper()
        return Handover(*_LINES[self.exchange](self, server, f"# {self.host}: {seen}"))

    def restored(self, before: State | None, state: State | None) -> Want:
        return {"published": bool((before or {}).get("published"))}

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover:
        server = (self.server or self.host).partition(".")[0].upper()
        title = f"Take Outlook Anywhere away from {self.host}"
        if self.exchange == "2003":
            return Handover("text", title, steps(
                f"On {server}: Exchange System Manager, properties of the server, RPC-HTTP: «Not part of an Exchange "
                "managed RPC-HTTP topology»; then remove the Windows component «RPC over HTTP proxy»."))
        if self.exchange >= "2013":
            directory = quoted(f"{server}\\{_DIRECTORY}")
            return Handover("powershell", title, script(
                f"Set-OutlookAnywhere -Identity {directory} -ExternalHostname $null"))
        return Handover("powershell", title, script(
            f"Disable-OutlookAnywhere -Server {quoted(server)} -Confirm:$false"))


def _shell_2007(module: OutlookAnywhere, server: str, seen: str) -> tuple[str, str, str]:
    method, directory = _OFFERED[module.authentication].capitalize(), quoted(f"{server}\\{_DIRECTORY}")
    return "powershell", f"Publish Outlook Anywhere as {module.host}", script(
        f"# In the Exchange Management Shell of {server}; first add the Windows feature «RPC over HTTP proxy» there.",
        seen,
        f"Enable-OutlookAnywhere -Server {quoted(server)} -ExternalHostname {quoted(module.host)} "
        f"-ClientAuthenticationMethod {method} -SSLOffloading $false",
        f"# Where it is on already: Set-OutlookAnywhere -Identity {directory} -ExternalHostname {quoted(module.host)} "
        f"-ClientAuthenticationMethod {method}",
        "# It starts within 15 minutes. The firewall lets TCP 443 in from outside.")


def _shell_2010(module: OutlookAnywhere, server: str, seen: str) -> tuple[str, str, str]:
    kind, title, text = _shell_2007(module, server, seen)
    return kind, title, text.replace("-ClientAuthenticationMethod", "-DefaultAuthenticationMethod", 1)


def _shell_2013(module: OutlookAnywhere, server: str, seen: str) -> tuple[str, str, str]:
    method, directory = _OFFERED[module.authentication].capitalize(), quoted(f"{server}\\{_DIRECTORY}")
    return "powershell", f"Publish Outlook Anywhere as {module.host}", script(
        f"# In the Exchange Management Shell of {server}: 2013 has it on always, what lacks is the external name.",
        seen,
        f"Set-OutlookAnywhere -Identity {directory} -ExternalHostname {quoted(module.host)} "
        f"-ExternalClientsRequireSsl $true -ExternalClientAuthenticationMethod {method}",
        "# The firewall lets TCP 443 in from outside.")


def _console_2003(module: OutlookAnywhere, server: str, seen: str) -> tuple[str, str, str]:
    return "text", f"Publish RPC over HTTP as {module.host}", steps(
        f"Exchange 2003 has no shell; on {server}, as an administrator:", seen.removeprefix("# "),
        "1. Add/Remove Windows Components, Networking Services: install «RPC over HTTP proxy».",
        "2. Exchange System Manager, properties of the server, RPC-HTTP: «RPC-HTTP back-end server» (a front-end: "
        "«front-end»).",
        "3. IIS Manager, virtual directory Rpc, Directory Security: no anonymous access, "
        f"{'Basic authentication' if module.authentication == 'basic' else 'Integrated Windows authentication'}, "
        "require SSL.",
        "4. Behind the proxy TCP 6001, 6002 and 6004 are open on the mailbox servers and the domain controllers "
        "(HKLM\\Software\\Microsoft\\Rpc\\RpcProxy, ValidPorts).",
        f"5. The firewall lets TCP 443 in for {module.host}.")


_LINES = {"2003": _console_2003, "2007": _shell_2007, "2010": _shell_2010, "2013": _shell_2013}
#: Outside the pages of the methods (C-01); their shell is 2013's.
_LINES |= dict.fromkeys(("2016", "2019"), _LINES["2013"])
