"""The cmdlets: what Exchange Online PowerShell does with the tenant and its migration service, and what it answers.

A call is judged by the published signatures first (`facts`), then by the rules of its cmdlet. The same cmdlets
serve the REST endpoint and a person at the desk; only a person may hand in credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.lab import facts
from engine.lab.cmdlet_output import Output, limit
from engine.lab.cmdlets.batches import Batches
from engine.lab.cmdlets.ground import Credential
from engine.lab.cmdlets.mail import Mail
from engine.lab.facts import ServiceError, migration_error

__all__ = ["Cmdlets", "Credential"]


class Cmdlets(Batches, Mail):
    """All simulated cmdlets of one tenant, found by their names."""

    def run(self, name: str, parameters: Mapping[str, Any], *, person: bool = False) -> Output:
        """Run one cmdlet. Raises ServiceError. Over REST (not `person`) credentials are refused, and a cmdlet that
        asks for confirmation does nothing until it is called with Confirm false."""
        cmdlet = facts.cmdlet(name)
        if not person:
            for given in parameters:
                kind = cmdlet.parameters.get(given, {}).get("type", "")
                if kind in ("PSCredential", "SecureString") or given.lower() in ("credentials", "credential"):
                    raise ServiceError("System.Management.Automation.ParameterBindingException",
                                       f"Cannot bind parameter '{given}': a {kind or 'PSCredential'} cannot be "
                                       "converted from the value that was sent.")
        bound = cmdlet.check(parameters)
        act: Callable[[dict[str, Any]], Output] | None = getattr(
            self, "_" + cmdlet.name.lower().replace("-", "_"), None)
        if act is None:
            raise ServiceError("System.NotImplementedException", f"The lab does not simulate {cmdlet.name}.")
        if bound.get("WhatIf"):
            return Output()
        if cmdlet.confirms and not person and bound.get("Confirm") is not False:
            return Output(confirmation=f"Are you sure you want to perform this action? {cmdlet.name} "
                                       f"\"{bound.get('Identity') or bound.get('Name') or ''}\"")
        refused = self.tenant.faults.refusal(f"exo {cmdlet.name}")
        if refused is not None:
            raise migration_error(refused, parameter="TargetDeliveryDomain", reason="it is empty",
                                  address="somebody@contoso.com", batch="another")
        output = act(bound)
        if "ResultSize" in cmdlet.parameters:
            limit(output, bound.get("ResultSize"), cmdlet.name)
        return output
