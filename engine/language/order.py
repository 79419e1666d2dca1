"""The order of a migration's steps (B-01): a playbook in which a step could run before what it rests on is refused.

Only steps that a playbook has are ordered: an organisation whose domains were verified long ago needs no task for it,
and what a missing task leaves undone, the engine's guards still see. Each rule names its requirement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from engine.language.tasks import TaskTemplate


@dataclass(frozen=True)
class Step:
    """The tasks of a module; of those, the ones whose parameter has one of the values (none: whose it is given)."""

    module: str
    parameter: str = ""
    values: tuple[str, ...] = ()

    def fits(self, template: TaskTemplate) -> bool:
        if template.module_name != self.module:
            return False
        if not self.parameter:
            return True
        found = _value(template, self.parameter)
        return found in self.values if self.values else found is not None


@dataclass(frozen=True)
class Rule:
    """`step` comes after `first`: after one of its tasks, or after `every` of them. `of`: in which migrations."""

    step: Step
    first: Step
    id: str
    why: str
    every: bool = False
    of: Literal["", "staged", "cutover"] = ""


VERIFIED = Step("tenant_domain", "state", ("verified",))
USER_MADE = Step("cloud_recipient", "at_least", ("recipient", "mail_user"))
ENDPOINT, REACHED, GROUP = Step("migration_endpoint"), Step("endpoint_test"), Step("security_group")
CREATED = Step("migration_batch", "state", ("created", "started"))
STARTED = Step("migration_batch", "state", ("started",))
REMOVED = Step("migration_batch", "state", ("absent",))
SYNCED, COUNTED, LICENSED, HISTORY = Step("mailbox_sync"), Step("item_counts"), Step("licence"), Step("batch_history")
CONVERTED = Step("mail_user_conversion")
LOWERED, RAISED = Step("mx_ttl", "at_most"), Step("mx_ttl", "seconds")
MOVED, FOUND = Step("mx_switch"), Step("autodiscover")
ROUTED = Step("delivery_probe", "through", ("mx",))

RULES = (
    Rule(REACHED, ENDPOINT, "B-26", "there is no endpoint to test"),
    Rule(CREATED, VERIFIED, "B-11", "mailboxes get addresses of domains that are not proven", every=True),
    Rule(CREATED, REACHED, "B-26", "nobody knows whether the service reaches the source"),
    Rule(CREATED, GROUP, "C-11", "groups would be made as mere distribution lists", every=True, of="cutover"),
    Rule(CREATED, USER_MADE, "S-06", "the mailboxes have no mail user to become", of="staged"),
    Rule(SYNCED, STARTED, "B-31", "nothing copies yet"),
    Rule(COUNTED, SYNCED, "B-35", "the copy is not complete"),
    Rule(CONVERTED, SYNCED, "S-27", "what is not copied yet would be lost"),
    Rule(CONVERTED, COUNTED, "S-27", "nobody knows whether everything was copied"),
    Rule(MOVED, LOWERED, "B-38", "senders would keep the old MX for its old TTL"),
    Rule(MOVED, SYNCED, "B-41", "mail would arrive in mailboxes that are not there", every=True),
    Rule(MOVED, LICENSED, "C-22", "mail would arrive in mailboxes that may be disabled", every=True),
    Rule(MOVED, CONVERTED, "S-35", "users who have not moved would lose mail", every=True, of="staged"),
    Rule(RAISED, MOVED, "B-39", "the switch would be noticed late"),
    Rule(ROUTED, MOVED, "B-43", "mail still goes to the source"),
    Rule(FOUND, SYNCED, "B-49", "users who have not moved would lose Outlook", every=True),
    Rule(FOUND, CONVERTED, "S-35", "users who have not moved would lose Outlook", every=True, of="staged"),
    Rule(REMOVED, HISTORY, "B-55", "removing it deletes its history"),
    Rule(REMOVED, CONVERTED, "S-34", "the source mailboxes are still in use", of="staged"),
    Rule(REMOVED, MOVED, "B-42", "mail that still reaches the source would stay there", every=True, of="cutover"),
)


@dataclass(frozen=True)
class Broken:
    """A task that does not wait for what its step rests on."""

    task: TaskTemplate
    first: TaskTemplate
    rule: Rule


def broken(templates: Sequence[TaskTemplate], before: Sequence[int], migration: str) -> Iterator[Broken]:
    """Where the written order breaks a rule. `before`: for each task, what comes before it, as bits (edges.reach)."""
    for rule in RULES:
        if rule.of not in ("", migration):
            continue
        firsts = [each for each in templates if rule.first.fits(each)]
        for task in templates:
            if not rule.step.fits(task):
                continue
            unmet = [each for each in firsts if not before[task.index] >> each.index & 1 and each is not task]
            if unmet and (rule.every or len(unmet) == len(firsts)):
                yield Broken(task, unmet[0], rule)


def _value(template: TaskTemplate, name: str) -> Any:
    """What the playbook gives a parameter, or its default; of one that differs by row, its name in braces."""
    if name in template.constants:
        return template.constants[name]
    if any(each.name == name for each in template.varying):
        return f"{{{name}}}"
    return next((field.default for field in fields(template.module)
                 if field.name == name and field.default is not MISSING), None)
