"""migration_endpoint: how the migration service reaches the source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from engine.connections import Site
from engine.connections.records import host_problem
from engine.contract import Diff, Handover, Rejected, State, Want
from engine.modules._powershell import quoted
from engine.modules.base import Effect, Module, Undo

TYPE = "ExchangeOutlookAnywhere"
_ACCOUNT = re.compile(r"[^\\/@\s]+\\[^\\/@\s]+|[^\\/@\s]+@[^\\/@\s]+\.[^\\/@\s]+")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

#: The fields that may be changed without a password, by the cmdlet's parameter.
_PARAMETERS = {"exchange_server": "ExchangeServer", "rpc_proxy_server": "RpcProxyServer",
               "max_concurrent_migrations": "MaxConcurrentMigrations"}


@dataclass(frozen=True, kw_only=True)
class MigrationEndpoint(Module):
    """Keep one Outlook Anywhere endpoint (B-18 to B-25).

    Making it, or changing its account, needs the account's password. With `shell: pwsh` and `source_password` on the
    connection mailmove gives it to its own PowerShell; else the exact line is handed to a person, who types the
    password into PowerShell and nowhere else. Other changes are made by mailmove.
    """

    name: Annotated[str, "Name of the endpoint."]
    email_address: Annotated[str, "A source mailbox the service tests its access with (B-19)."]
    account: Annotated[str, "The migration administrator, DOMAIN\\user or an e-mail address (B-20)."]
    autodiscover: Annotated[bool, "Let the service find server and proxy; then the two below are not used."] = True
    exchange_server: Annotated[str, "Host name of the mailbox server (B-23)."] = ""
    rpc_proxy_server: Annotated[str, "Host name of the Outlook Anywhere proxy, as seen from outside (B-23)."] = ""
    max_concurrent_migrations: Annotated[int | None, "Mailboxes copied at a time; the service's default."] = None

    family: ClassVar[str] = "endpoint"
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "create"
    undo: ClassVar[Undo] = "compensate"
    settles_within: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("Migration",)
    apply_rows: ClassVar[int] = 20

    def key(self) -> str:
        return f"endpoint/{self.name}"

    def problems(self) -> Iterator[str]:
        if not self.name.strip() or len(self.name) > 64:
            yield "name: 1 to 64 characters"
        if not _ADDRESS.fullmatch(self.email_address):
            yield "email_address: not an e-mail address (B-19)"
        if not _ACCOUNT.fullmatch(self.account):
            yield "account: written DOMAIN\\user or user@domain (B-20)"
        for field in ("exchange_server", "rpc_proxy_server") if not self.autodiscover else ():
            if bad := host_problem(getattr(self, field)):
                yield f"{field}: {bad}, where autodiscover is false (B-23)"
        limit = self.max_concurrent_migrations
        if limit is not None and not 1 <= limit <= 100:
            yield "max_concurrent_migrations: 1 to 100 (Microsoft 365 migration performance and best practices)"

    def want(self) -> Want:
        want: dict[str, Any] = {"type": TYPE, "account": self.account.lower(), "autodiscover": self.autodiscover}
        if not self.autodiscover:
            want |= {"exchange_server": self.exchange_server.lower(),
                     "rpc_proxy_server": self.rpc_proxy_server.lower()}
        if self.max_concurrent_migrations is not None:
            want["max_concurrent_migrations"] = self.max_concurrent_migrations
        return want

    def read(self, site: Site) -> State | None:
        found = site.exchange_online.endpoints().get(self.name)
        if found is None:
            return None
        return {"type": found.type, "exchange_server": found.exchange_server,
                "rpc_proxy_server": found.rpc_proxy_server, "account": found.account,
                "autodiscover": found.autodiscover, "max_concurrent_migrations": found.max_concurrent_migrations}

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        credential = site.exchange_online.credential(self.account)
        if diff.before is None and credential is not None:
            site.exchange_online.invoke("New-MigrationEndpoint", **self._parameters(), Credentials=credential)
            return None
        if diff.before is None:
            return Handover("powershell", f"Create the migration endpoint {self.name}",
                            "Connect-ExchangeOnline\n" + self._new())
        changed = {change.field for change in diff.changes}
        if changed & {"type", "autodiscover"}:
            raise Rejected("exchange_online", f"an endpoint {self.name} of another kind exists", remedy=(
                "remove it when no batch uses it, or take another name"))
        if "account" in changed and credential is not None:
            site.exchange_online.invoke("Set-MigrationEndpoint", Identity=self.name, Credentials=credential)
        elif "account" in changed:
            return Handover("powershell", f"Change the account of the migration endpoint {self.name}",
                            "Connect-ExchangeOnline\n"
                            f"Set-MigrationEndpoint -Identity {quoted(self.name)} -Credentials {self._credential()}\n")
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
        exchange.invoke("Set-MigrationEndpoint", Identity=self.name, **{
            _PARAMETERS[name]: value for name, value in names.items() if name in _PARAMETERS})
        return None

    def final(self, site: Site, before: State | None, state: State | None) -> str:
        """B-18: only while no batch uses it."""
        using = sorted(name for name, batch in site.exchange_online.migration_batches().items()
                       if batch.endpoint == self.name)
        return f"batch {using[0]} uses the endpoint" if using and before is None else ""

    def handover_group(self) -> str:
        return "migration_endpoint"

    def _credential(self) -> str:
        return _credential(self.account, "Migration administrator of the source")

    def _parameters(self) -> dict[str, Any]:
        """What `_new` says, as data for the shell that is ours."""
        where: dict[str, Any] = {"Autodiscover": True} if self.autodiscover else {
            "ExchangeServer": self.exchange_server, "RpcProxyServer": self.rpc_proxy_server}
        limit = {} if self.max_concurrent_migrations is None else {
            "MaxConcurrentMigrations": self.max_concurrent_migrations}
        return {"ExchangeOutlookAnywhere": True, "Name": self.name, "EmailAddress": self.email_address,
                **where, **limit}

    def _new(self) -> str:
        where = "-Autodiscover" if self.autodiscover else (
            f"-ExchangeServer {quoted(self.exchange_server)} -RpcProxyServer {quoted(self.rpc_proxy_server)}")
        limit = "" if self.max_concurrent_migrations is None else (
            f" -MaxConcurrentMigrations {self.max_concurrent_migrations}")
        return (f"New-MigrationEndpoint -ExchangeOutlookAnywhere -Name {quoted(self.name)} {where}"
                f" -EmailAddress {quoted(self.email_address)} -Credentials {self._credential()}{limit}\n")


def _credential(account: str, message: str) -> str:
    """PowerShell asks the person for the password, and nobody else ever sees it."""
    return f"(Get-Credential -UserName {quoted(account)} -Message {quoted(message)})"
