"""What all simulated cmdlets stand on, and how they say that something is not there."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.lab.auto_replies import AutoReplies
from engine.lab.facts import ServiceError
from engine.lab.migration import Migration
from engine.lab.tenant import Tenant


@dataclass(frozen=True)
class Credential:
    """A PSCredential, which only a person can hand over."""

    user: str
    password: str = field(repr=False)


class Ground:
    """What the cmdlets of one tenant stand on."""

    def __init__(self, tenant: Tenant, migration: Migration) -> None:
        self.tenant = tenant
        self.migration = migration
        self.auto_replies = AutoReplies(tenant.organisation)


def not_found(text: str) -> ServiceError:
    return ServiceError("Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException", text, 404,
                        "NotFound")
