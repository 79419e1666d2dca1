"""migration_endpoint: how the migration service reaches the source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.migration_objects import by_name
from engine.connections.password_mark import PasswordMark
from engine.connections.records import host_problem
from engine.contract import Diff, Failing, Handover, Outlook, Rejected, State, Want
from engine.modules._powershell import quoted
from engine.modules.base import Effect, Module, Undo

TYPE = "ExchangeOutlookAnywhere"
_ACCOUNT = re.compile(r"[^\\/@\s]+\\[^\\/@\s]+|[^\\/@\s]+@[^\\/@\s]+\.[^\\/@\s]+")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
#: Names that public DNS never has (RFC 6762, appendix G; RFC 2606; RFC 8375).
_INTERNAL = (".local", ".lan", ".internal", ".intranet", ".corp", ".home", ".private", ".localdomain", ".home.arpa")
CONCURRENT_MAX = 100

#: The fields that may be changed without a password, by the cmdlet's parameter.
_PARAMETERS = {"exchange_server": "ExchangeServer", "rpc_proxy_server": "RpcProxyServer",
               "max_concurrent_migrations": "MaxConcurrentMigrations",
               "max_concurrent_incremental_syncs": "MaxConcurrentIncrementalSyncs"}


@dataclass(frozen=True, kw_only=True)
class MigrationEndpoint(Module):
    """Keep one Outlook Anywhere endpoint (B-18 to B-25).

    Making it, or changing its account, needs the account's password. With `shell: pwsh` and `source_password` on the
    connection mailmove gives it to its own PowerShell; else the exact line is handed to a person, who types the
    password into PowerShell and nowhere else. Other changes are made by mailmove. When the password with which the
    inventory's connections sign in as the same account is another one than was given, the endpoint is given it anew
    (B-21).
    """

    name: Annotated[str, "Name of the endpoint (B-24)."]
    email_address: Annotated[str, "A source mailbox the service tests its access with (B-19)."]
    account: Annotated[str, "The migration administrator, DOMAIN\\user or an e-mail address (B-20)."]
    autodiscover: Annotated[bool, "Let the service find server and proxy (B-22), not named below then."] = True
    exchange_server: Annotated[str, "Host name of the mailbox server (B-23)."] = ""
    rpc_proxy_server: Annotated[str, "Host name of the Outlook Anywhere proxy, as seen from outside (B-23)."] = ""
    max_concurrent_migrations: Annotated[int | None, "Mailboxes copied at a time; the service's default (B-25)."] = None
    max_concurrent_incremental_syncs: Annotated[int | None, "Later syncs at a time, no more than the above; the "
                                                            "service's default (B-25)."] = None

    family: ClassVar[str] = "endpoint"
    public: ClassVar[frozenset[str]] = frozenset({
        "account", "autodiscover", "exchange_server", "max_concurrent_incremental_syncs", "max_concurrent_migrations",
        "password_current", "rpc_proxy_server", "type"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "create"
    undo: ClassVar[Undo] = "compensate"
    settles_within: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("Migration",)
    apply_rows: ClassVar[int] = 20
    by_person: ClassVar[tuple[str, ...]] = (
        "Exchange admin centre > Migration > Endpoint > Add > Outlook Anywhere; e-mail address, account and password "
        "of the migration administrator; if it is not found, server and RPC proxy server; name; the two numbers may "
        "stay empty.", "New-MigrationEndpoint, Set-MigrationEndpoint.")

    def key(self) -> str:
        return f"endpoint/{self.name}"

    def problems(self) -> Iterator[str]:
        if not self.name.strip() or len(self.name) > 64:
            yield "name: 1 to 64 characters (B-24)"
        if not _ADDRESS.fullmatch(self.email_address):
            yield "email_address: not an e-mail address (B-19)"
        if not _ACCOUNT.fullmatch(self.account):
            yield "account: written DOMAIN\\user or user@domain (B-20)"
        for field in ("exchange_server", "rpc_proxy_server") if not self.autodiscover else ():
            if bad := host_problem(getattr(self, field)):
                yield f"{field}: {bad}, where autodiscover is false (B-23)"
        proxy = self.rpc_proxy_server.lower()
        if not self.autodiscover and proxy.endswith(_INTERNAL):
            yield ("rpc_proxy_server: an internal name, which the service cannot find; give the one seen from outside, "
                   "normally that of Outlook Web App (B-23)")
        yield from self._number_problems()

    def _number_problems(self) -> Iterator[str]:
        most, later = self.max_concurrent_migrations, self.max_concurrent_incremental_syncs
        for field, number in (("max_concurrent_migrations", most), ("max_concurrent_incremental_syncs", later)):
            if number is not None and not 1 <= number <= CONCURRENT_MAX:
                yield f"{field}: 1 to {CONCURRENT_MAX} (Microsoft 365 migration performance and best practices)"
        if most is not None and later is not None and later > most:
            yield f"max_concurrent_incremental_syncs: {later}, more than the {most} migrations (Set-MigrationEndpoint)"

    def want(self) -> Want:
        want: dict[str, Any] = {"type": TYPE, "account": self.account.lower(), "autodiscover": self.autodiscover,
                                "password_current": True}
        if not self.autodiscover:
            want |= {"exchange_server": self.exchange_server.lower(),
                     "rpc_proxy_server": self.rpc_proxy_server.lower()}
        for field in ("max_concurrent_migrations", "max_concurrent_incremental_syncs"):
            if getattr(self, field) is not None:
                want[field] = getattr(self, field)
        return want

    def read(self, site: Site) -> State | None:
        found = by_name(site.exchange_online.endpoints(), self.name)
        if found is None:
            return None
        standing = PasswordMark(site, self.name, self.account).standing(found.modified)
        return {"type": found.type, "exchange_server": found.exchange_server,
                "rpc_proxy_server": found.rpc_proxy_server, "account": found.account,
                "autodiscover": found.autodiscover, "max_concurrent_migrations": found.max_concurrent_migrations,
                "max_concurrent_incremental_syncs": found.max_concurrent_incremental_syncs,
                "password_current": standing not in ("changed", "handed over")}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is not None and state["type"] != TYPE:
            return Failing(f"{self.name} is taken by an endpoint of the type {state['type']}",
                           "take another name, or remove that one when no batch uses it")
        return None

    def remark(self, state: State | None) -> str:
        """B-22: look at what was found. B-25: the service's own numbers where none were given."""
        if state is None:
            return ""
        where = "found by Autodiscover" if self.autodiscover else "by hand"
        servers = f"{where}: {state['exchange_server'] or '(none)'} behind {state['rpc_proxy_server'] or '(none)'}"
        own = " (the service's own numbers)" if self.max_concurrent_migrations is None else ""
        return (f"{servers}; {state['max_concurrent_migrations']} mailboxes at a time, "
                f"{state['max_concurrent_incremental_syncs']} later syncs{own}")

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        credential = site.exchange_online.credential(self.account)
        if diff.before is None:
            PasswordMark(site, self.name, self.account).keep()
            if credential is not None:
                site.exchange_online.invoke("New-MigrationEndpoint", **self._parameters(), Credentials=credential)
                return None
            return Handover("powershell", f"Create the migration endpoint {self.name}",
                            "Connect-ExchangeOnline\n" + self._new())
        changed = {change.field for change in diff.changes}
        if changed & {"type", "autodiscover"}:
            raise Rejected("exchange_online", f"an endpoint {self.name} of another kind exists", remedy=(
                "remove it when no batch uses it, or take another name"))
        if changed & {"account", "password_current"}:
            PasswordMark(site, self.name, self.account).keep()
            if credential is None:
                what = "account" if "account" in changed else "password of the account"
                return Handover("powershell", f"Change the {what} of the migration endpoint {self.name}",
                                "Connect-ExchangeOnline\n"
                                f"Set-MigrationEndpoint -Identity {quoted(self.name)} -Credentials "
                                f"{self._credential()}\n")
            site.exchange_online.invoke("Set-MigrationEndpoint", Identity=self.name, Credentials=credential)
        values = {parameter: getattr(self, field) for field, parameter in _PARAMETERS.items() if field in changed}
        if values:
            site.exchange_online.invoke("Set-MigrationEndpoint", Identity=self.name, **values)
        return None

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        exchange = site.exchange_online
        if before is None:
            exchange.invoke("Remove-MigrationEndpoint", Identity=self.name)
            return None
        names = {change.field: change.after for change in diff.changes}
        if "account" in names:
            line = f"Set-MigrationEndpoint -Identity {quoted(self.name)} -Credentials " + _credential(
                str(names["account"]), "The account that was there before")
            return Handover("powershell", f"Give the migration endpoint {self.name} its former account",
                            f"Connect-ExchangeOnline\n{line}\n")
        values = {_PARAMETERS[name]: value for name, value in names.items() if name in _PARAMETERS}
        if values:
            exchange.invoke("Set-MigrationEndpoint", Identity=self.name, **values)
        return None

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        """B-18: only while no batch uses it."""
        using = sorted(name for name, batch in site.exchange_online.migration_batches().items()
                       if batch.endpoint == self.name)
        return f"batch {using[0]} uses the endpoint" if using and before is None else ""

    def by_hand(self, site: Site) -> bool:
        if site.exchange_online.credential(self.account) is not None:
            return False
        state = self.read(site)
        return state is None or state["account"] != self.account.lower() or not state["password_current"]

    def handover_group(self) -> str:
        return "migration_endpoint"

    def _credential(self) -> str:
        return _credential(self.account, "Migration administrator of the source")

    def _parameters(self) -> dict[str, Any]:
        """What `_new` says, as data for the shell that is ours."""
        where: dict[str, Any] = {"Autodiscover": True} if self.autodiscover else {
            "ExchangeServer": self.exchange_server, "RpcProxyServer": self.rpc_proxy_server}
        numbers = {"MaxConcurrentMigrations": self.max_concurrent_migrations,
                   "MaxConcurrentIncrementalSyncs": self.max_concurrent_incremental_syncs}
        return {"ExchangeOutlookAnywhere": True, "Name": self.name, "EmailAddress": self.email_address,
                **where, **{parameter: number for parameter, number in numbers.items() if number is not None}}

    def _new(self) -> str:
        where = "-Autodiscover" if self.autodiscover else (
            f"-ExchangeServer {quoted(self.exchange_server)} -RpcProxyServer {quoted(self.rpc_proxy_server)}")
        numbers = "".join(f" -{parameter} {number}" for parameter, number in (
            ("MaxConcurrentMigrations", self.max_concurrent_migrations),
            ("MaxConcurrentIncrementalSyncs", self.max_concurrent_incremental_syncs)) if number is not None)
        line = (f"New-MigrationEndpoint -ExchangeOutlookAnywhere -Name {quoted(self.name)} {where}"
                f" -EmailAddress {quoted(self.email_address)} -Credentials {self._credential()}{numbers}\n")
        return line + (FALLBACK if self.autodiscover else "")


#: What a person reads below the line, where discovery may fail (B-22 F; Exchange 2003 has no Autodiscover at all).
FALLBACK = """\
# If Autodiscover does not find the settings, do not go on here. Write into the inventory
#   source_autodiscover: "false"
#   exchange_server:  the full name of the mailbox server, as ex01.corp.contoso.com
#   rpc_proxy_server: the name of Outlook Anywhere seen from outside, as mail.contoso.com
# and run mailmove apply again. It hands you the line with these names (B-23).
"""


def _credential(account: str, message: str) -> str:
    """PowerShell asks the person for the password, and nobody else ever sees it."""
    return f"(Get-Credential -UserName {quoted(account)} -Message {quoted(message)})"
