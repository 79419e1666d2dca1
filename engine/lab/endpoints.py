"""Migration endpoints: how the service reaches the source, and within which bounds.

Rules and refusals: pages New-, Set- and Test-MigrationServerAvailability of migration endpoints; errors by the table of
migration-service notes, section 4.
"""

from __future__ import annotations

from engine.lab.facts import ServiceError, migration_error
from engine.lab.objects import Endpoint
from engine.lab.tenant import Tenant

TENANT_MIGRATIONS_MAX = 300


class MigrationEndpoints:
    """Those of one tenant, by lower-case name."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.by_name: dict[str, Endpoint] = {}

    def add(self, endpoint: Endpoint, verify: bool) -> None:
        if endpoint.name.lower() in self.by_name:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationEndpointAlreadyExistsException",
                               f"The migration endpoint '{endpoint.name}' already exists.")
        self.check(endpoint)
        if verify:
            self.reach(endpoint)
        self.by_name[endpoint.name.lower()] = endpoint
        self._tenant.counters.effect(f"endpoint/{endpoint.name} create")
        self._tenant.made(f"endpoint/{endpoint.name.lower()}")

    def check(self, endpoint: Endpoint) -> None:
        """The bounds of Set-MigrationEndpoint's page, and of the tenant over all endpoints."""
        if endpoint.max_incremental > endpoint.max_migrations:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationEndpointInvalidException",
                               "MaxConcurrentIncrementalSyncs must be less than or equal to MaxConcurrentMigrations.")
        others = sum(each.max_migrations for each in self.by_name.values() if each.name != endpoint.name)
        if endpoint.max_migrations < 1 or others + endpoint.max_migrations > TENANT_MIGRATIONS_MAX:
            raise ServiceError("Microsoft.Exchange.Migration.MigrationMaximumConcurrentMigrationLimitReachedException",
                               f"The maximum number of concurrent migrations is {TENANT_MIGRATIONS_MAX}.")

    def reach(self, endpoint: Endpoint) -> None:
        """The service's own test of the source. Raises the error of the table."""
        self.connect(endpoint)
        source = self._tenant.organisation
        for address in (endpoint.email_address, endpoint.test_mailbox):
            mailbox = source.mailboxes.get(address.lower()) if address else None
            if address and (mailbox is None or mailbox.hidden):
                raise migration_error("E06", address=address)

    def connect(self, endpoint: Endpoint) -> None:
        """The line to the source and the account's sign-in, as every copy needs them. Raises the error of the table."""
        source, number = self._tenant.organisation, self._tenant.faults.endpoint
        server = endpoint.rpc_proxy_server or endpoint.exchange_server or ""
        if number:
            raise migration_error(number, server=server, address=endpoint.email_address)
        if not source.account_ok(endpoint.account, endpoint.password):
            raise migration_error("E04", server=server)

    def remove(self, endpoint: Endpoint) -> None:
        del self.by_name[endpoint.name.lower()]
        self._tenant.counters.effect(f"endpoint/{endpoint.name} remove")

    def state(self) -> dict[str, object]:
        """Canonical: no times, GUIDs or request ids."""
        return {e.name: {"account": e.account, "exchange_server": e.exchange_server,
                         "rpc_proxy_server": e.rpc_proxy_server, "autodiscover": e.autodiscover,
                         "max_concurrent_migrations": e.max_migrations}
                for _, e in sorted(self.by_name.items())}
