"""Migration endpoints, and the test whether one reaches its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.lab.cmdlet_output import Output, endpoint_row
from engine.lab.cmdlets.ground import Credential, Ground, not_found
from engine.lab.endpoints import TENANT_MIGRATIONS_MAX
from engine.lab.facts import ServiceError, migration_error
from engine.lab.objects import Endpoint


class Endpoints(Ground):
    """*-MigrationEndpoint, Test-MigrationServerAvailability."""

    def _get_migrationendpoint(self, given: dict[str, Any]) -> Output:
        shown = [each for each in self.migration.endpoints.by_name.values()
                 if self.tenant.visible(f"endpoint/{each.name.lower()}")]
        if given.get("Identity") is not None:
            shown = [self._endpoint(given["Identity"])]
        if given.get("Type"):
            shown = [each for each in shown if each.type.lower() == given["Type"].lower()]
        return Output(shown, endpoint_row)

    def _new_migrationendpoint(self, given: dict[str, Any]) -> Output:
        if given.get("IMAP"):  # somebody's other migration: it takes a name, and a place in the tenant
            now = self.tenant.clock.now()
            other = Endpoint(given["Name"], self.tenant.identifier("endpoint", given["Name"]), "", "", now, now, "IMAP")
            self.migration.endpoints.add(other, verify=False)
            return Output([other], endpoint_row)
        if not given.get("ExchangeOutlookAnywhere"):
            raise ServiceError("System.NotImplementedException", "The lab simulates ExchangeOutlookAnywhere only.")
        if not given.get("Autodiscover") and not given.get("RpcProxyServer"):
            raise ServiceError("System.Management.Automation.ParameterBindingException",
                               "RpcProxyServer is needed when Autodiscover is not used.")
        credential: Credential = given["Credentials"]
        now = self.tenant.clock.now()
        endpoint = Endpoint(given["Name"], self.tenant.identifier("endpoint", given["Name"]), credential.user,
                            credential.password, now, now, autodiscover=bool(given.get("Autodiscover")))
        _settings(endpoint, given)
        if endpoint.autodiscover:
            source = self.tenant.organisation
            if source.exchange == "2003":  # has no Autodiscover
                raise migration_error("E02", address=endpoint.email_address)
            endpoint.rpc_proxy_server = source.mail_hosts[0]
            found = source.mailboxes.get(str(endpoint.email_address).lower())
            endpoint.exchange_server = found.server if found else None
        self.migration.endpoints.add(endpoint, verify=not given.get("SkipVerification"))
        return Output([endpoint], endpoint_row)

    def _set_migrationendpoint(self, given: dict[str, Any]) -> Output:
        endpoint = self._endpoint(given["Identity"])
        batch = self.migration.endpoint_in_use(endpoint, running=True)
        if batch is not None:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationEndpointInUseException",
                               f"'{endpoint.name}' can't be changed while batch '{batch.name}' runs.")
        before = {name: getattr(endpoint, name) for name in endpoint.__slots__}
        credential = given.get("Credentials")
        if credential is not None:
            endpoint.account, endpoint.password = credential.user, credential.password
        _settings(endpoint, given)
        try:
            self.migration.endpoints.check(endpoint)
            if not given.get("SkipVerification"):
                self.migration.endpoints.reach(endpoint)
        except ServiceError:
            for name, value in before.items():
                setattr(endpoint, name, value)
            raise
        if all(getattr(endpoint, name) == value for name, value in before.items()):
            return Output(warnings=[f"The command completed successfully but no settings of '{endpoint.name}' "
                                    "have been modified."])
        endpoint.modified = self.tenant.clock.now()
        self.tenant.counters.effect(f"endpoint/{endpoint.name} change")
        return Output()

    def _remove_migrationendpoint(self, given: dict[str, Any]) -> Output:
        self.migration.remove_endpoint(self._endpoint(given["Identity"]))
        return Output()

    def _test_migrationserveravailability(self, given: dict[str, Any]) -> Output:
        now = self.tenant.clock.now()
        if given.get("Endpoint") is not None:
            endpoint = self._endpoint(given["Endpoint"])
        else:
            credential: Credential = given["Credentials"]
            endpoint = Endpoint("", "", credential.user, credential.password, now, now)
            _settings(endpoint, given | {"RpcProxyServer": given.get("RPCProxyServer")})
        result: dict[str, Any] = {"Result": "Success", "Message": "", "ErrorDetail": "", "IsValid": True,
                                  "SupportsCutover": not self.tenant.sync_enabled, "TestedEndpoint": endpoint.name,
                                  "ConnectionSettings": endpoint.rpc_proxy_server or "", "ObjectState": "New"}
        try:
            self.migration.endpoints.reach(endpoint)
        except ServiceError as error:
            result |= {"Result": "Failed", "Message": error.text, "ErrorDetail": f"{error.kind}: {error.text}"}
        return Output([result])

    def _endpoint(self, name: str) -> Endpoint:
        found = self.migration.endpoints.by_name.get(str(name).lower())
        if found is None or not self.tenant.visible(f"endpoint/{found.name.lower()}"):
            raise not_found(f"The migration endpoint '{name}' couldn't be found.")
        return found


def _settings(endpoint: Endpoint, given: Mapping[str, Any]) -> None:
    for parameter, name in (("ExchangeServer", "exchange_server"), ("RpcProxyServer", "rpc_proxy_server"),
                            ("NspiServer", "nspi_server"), ("EmailAddress", "email_address"),
                            ("TestMailbox", "test_mailbox"), ("SourceMailboxLegacyDN", "legacy_dn"),
                            ("Authentication", "authentication"), ("MailboxPermission", "mailbox_permission"),
                            ("AcceptUntrustedCertificates", "untrusted")):
        if given.get(parameter) is not None:
            setattr(endpoint, name, given[parameter])
    for parameter, name in (("MaxConcurrentMigrations", "max_migrations"),
                            ("MaxConcurrentIncrementalSyncs", "max_incremental")):
        if given.get(parameter) is not None:
            text = str(given[parameter]).lower()
            setattr(endpoint, name, TENANT_MIGRATIONS_MAX if text == "unlimited" else int(text))
    if given.get("MaxConcurrentIncrementalSyncs") is None:
        endpoint.max_incremental = min(endpoint.max_incremental, endpoint.max_migrations)
