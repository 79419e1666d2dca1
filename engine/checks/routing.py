"""Mail goes where this migration last sent it: MX against what the first run saw (B-17, B-40)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.checks.base import Check, Look, copies, mailboxes, refuse, warn
from engine.contract import Fault, Finding

MICROSOFT_MX = (".mail.protection.outlook.com.", ".mx.microsoft.")


def baseline(look: Look) -> Mapping[str, tuple[str, ...]]:
    """MX as all authoritative servers show it, by domain; domains whose servers differ or fail are left out."""
    questions = {domain: (str(row["zone"]), str(row.get("label") or "@"), "MX")
                 for domain, row in ((key, look.program.rows.fields("domains", key)) for key in look.keys("domains"))}
    answers = look.site.dns.record_sets(questions.values())
    found = {}
    for domain, question in questions.items():
        answer = answers[question]
        if not isinstance(answer, Fault) and answer.agree:
            found[domain] = answer.values
    return found


def _drift(look: Look) -> Iterator[Finding]:
    pinned = look.memory.pinned.get("mx")
    before = pinned if isinstance(pinned, Mapping) else {}
    for domain, values in baseline(look).items():
        if domain in look.memory.moved_mx:
            continue  # the task that moves it owns it, and finds its drift
        first = before.get(domain)
        if any(value.endswith(MICROSOFT_MX) for value in values):
            yield from _early(look, domain, values)
        elif isinstance(first, tuple) and first != values:
            yield warn(f"MX of {domain} is no longer what the first run saw: {_shown(first)} then, {_shown(values)} "
                       "now; this migration did not change it (B-40)", "Find out who did; mail may arrive elsewhere.")


def _early(look: Look, domain: str, values: tuple[str, ...]) -> Iterator[Finding]:
    cloud = look.site.exchange_online.recipients()
    left = sorted(address for address in look.planned if address.endswith(f"@{domain}")
                  and (address not in cloud or cloud[address].type != "mailbox"))
    text = f"MX of {domain} points to Microsoft 365 already ({_shown(values)}), and this migration did not move it"
    if left:
        # a playbook that only brings MX back must not be kept from it
        say = refuse if copies(look) else warn
        yield say(f"{text}; {mailboxes(len(left))} of it are not there yet: mail bounces or lands in empty "
                     "mailboxes (B-17)", "Point MX back to the source.", left)
    else:
        yield warn(f"{text} (B-40)", "Everybody of it is in the cloud; the waits of the switch were not kept.")


def _shown(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"


def watches(look: Look) -> bool:
    return bool(look.keys("domains")) and look.site.has("dns") and look.site.has("exchange_online")


CHECKS = (
    Check("mail_route", "MX is as this migration found or left it", ("B-17", "B-40"), ("dns", "exchange_online"),
          _drift, refuses=True, liftable=True, where=watches),
)
