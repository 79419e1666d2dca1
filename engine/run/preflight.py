"""The preflight of a run: what the checks find, what of it is new to the journal, and what forbids going on.

Looked at before every plan and every run, and once a day by a run that waits. A finding is journalled (`observed`) only
when it differs from the one before, so that looking does not grow the journal; what the first run met is pinned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from engine import checks
from engine.checks import Look, Memory, routing
from engine.checks.base import copies
from engine.connections import Site
from engine.contract import Event, ExitCode, Fault, Finding, Listener, Plain, Problem, Program, Refusal
from engine.run.journal import Journal, Record
from engine.world import World

#: Pauses of a run while a refusing check's remote side is out of reach; one that may wait takes all of them, one that a
#: timer starts again, or a person who looks on, the first few.
PATIENCE = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 4, 8))
PAUSES_WITHOUT_WAIT = 2
#: How often a run that waits looks again at what no task looks at.
AGAIN = timedelta(days=1)


def remembered(journal: Journal) -> Memory:
    """What the journal knows for the checks."""
    pinned: dict[str, Plain] = {}
    moved, removed = set[str](), set[str]()
    lifted: dict[str, list[tuple[str, str, str]]] = {}
    for row in journal.rows(kinds=("pinned", "overridden", "intent")):
        kind = row.label.kind
        if kind == "intent":
            family, _, rest = row.key.partition("/")
            if family == "batch" and row.record().body.get("verb") == "delete":
                removed.add(rest)
            elif family == "dns" and rest.endswith("/MX") and any(
                    change[0] == "values" for change in row.record().body.get("changes", ())):
                zone, label, _ = rest.split("/")
                moved.add(zone if label == "@" else f"{label}.{zone}")
            continue
        body = row.record().body
        if kind == "pinned":
            pinned.update(body["pins"])
        elif body.get("finding"):
            lifted.setdefault(str(body["guard"]), []).append(
                (str(body["finding"]), str(body["by"]), str(body.get("reason") or "")))
    return Memory(pinned, frozenset(moved), frozenset(removed), lifted)


def observed(journal: Journal) -> dict[str, list[Finding]]:
    """By check, what was last journalled of it; checks that found nothing are left out."""
    latest: dict[str, list[Finding]] = {}
    for record in journal.records(kinds=("observed",)):
        latest[str(record.body["check"])] = [_finding(each) for each in record.body["findings"]]
    return {check: found for check, found in latest.items() if found}


class Preflight:
    """One run's looks. `look` reads; `note` gives the records that are new; `judge` refuses."""

    def __init__(self, program: Program, site: Site, journal: Journal, world: World) -> None:
        self._program = program
        self._site = site
        self._journal = journal
        self._world = world
        self._memory = Memory()
        self._watches = False
        self.looked_at = world.clock.now()

    def look(self) -> list[Finding]:
        """Every finding, the gravest first. Raises Refusal at once when this is not our tenant or source."""
        self.looked_at = self._world.clock.now()
        self._memory = remembered(self._journal)
        look = Look(self._program, self._site, self.looked_at, self._memory)
        self._watches = copies(look)
        _ours(look)
        return checks.examine(look)

    def look_patiently(self, alive: Callable[[], bool], *, wait: bool,
                       tell: Callable[[Sequence[str], datetime], None]) -> list[Finding]:
        """As `look`; what could not be told for a passing fault is asked again after growing pauses, and that alone:
        of many questions one usually fails, and each time another.

        `alive` is called while waiting: it keeps the lease, and says when to stop waiting. `tell` hears what could not
        be told, and when it is asked again. Raises what `look` raises, a passing Fault only when the last look met it.
        """
        findings: list[Finding] | None = None
        for pause in (*PATIENCE[:None if wait else PAUSES_WITHOUT_WAIT], None):
            try:
                findings = self.look() if findings is None else self._again(findings)
                untold = [found.text for found in findings if found.passing and found.severity == "refuse"]
            except Fault as fault:
                if not fault.passing or pause is None:
                    raise
                untold = [str(fault)]
            if not untold or pause is None or any(each.told and each.severity == "refuse" for each in findings or ()):
                break
            until = self._world.clock.now() + pause
            tell(untold, until)
            self._world.clock.wait(until, alive)
            self._site.forget()
        return findings or []

    def _again(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings of a look, those asked anew that could not be told."""
        look = Look(self._program, self._site, self._world.clock.now(), self._memory)
        return checks.asked_again(look, findings)

    def next_look(self) -> datetime | None:
        """When a run that waits looks again; None: the playbook moves no mailboxes, and there is nothing to watch."""
        return self.looked_at + AGAIN if self._watches else None

    def due(self) -> bool:
        return self._watches and self._world.clock.now() - self.looked_at >= AGAIN

    def note(self, findings: Sequence[Finding]) -> list[Record]:
        """What of the findings the journal does not know yet. What could not be told is no news of the world."""
        now: dict[str, list[Finding]] = {}
        for found in findings:
            now.setdefault(found.check, []).append(found)
        before = observed(self._journal)
        return [Record("observed", body={"check": check, "findings": [_mapping(each) for each in now.get(check, ())]})
                for check in sorted(now.keys() | before.keys())
                if now.get(check, []) != before.get(check, [])
                and all(each.told for each in now.get(check, ()))]

    def pins(self) -> list[Record]:
        """What the first run writes down, and later ones where it could not be told then."""
        known = self._memory.pinned
        found = {name: each for name, each in self._facts(known).items() if name not in known}
        return [Record("pinned", body={"pins": found})] if found else []

    def _facts(self, known: Mapping[str, Plain]) -> dict[str, Plain]:
        facts: dict[str, Plain] = {"at": self._world.clock.now()}
        if self._program.settings.get("type"):
            facts["type"] = self._program.settings["type"]
        with contextlib.suppress(Fault):  # a later run pins it; the check that needs it has said so
            if "tenant" not in known and self._site.has("graph"):
                facts["tenant"] = self._site.graph.organization().id
        with contextlib.suppress(Fault):
            if "source" not in known and self._site.has("directory"):
                facts["source"] = self._site.directory.organization().guid
        with contextlib.suppress(Fault):
            if "mx" not in known and routing.watches(look := Look(self._program, self._site, self.looked_at)):
                facts["mx"] = dict(routing.baseline(look))
        return facts


def asking_again(listener: Listener | None, world: World) -> Callable[[Sequence[str], datetime], None]:
    """What tells a run's listener (event `asking_again`) why nothing happens yet."""
    def tell(untold: Sequence[str], until: datetime) -> None:
        if listener is not None:
            listener(Event("asking_again", world.clock.now(), fields={"untold": list(untold), "until": until}))

    return tell


def check_identity(program: Program, site: Site, journal: Journal, now: datetime) -> None:
    """That this is the tenant, the source and the method of the first run: all that an undo asks of the preflight.

    Raises Refusal (exit 5) when it is not, Fault when the tenant cannot be asked.
    """
    _ours(Look(program, site, now, remembered(journal)))


def _ours(look: Look) -> None:
    judge(found for found in checks.first(look) if found.severity == "refuse" and found.told)


def judge(findings: Iterable[Finding]) -> None:
    """Raises Refusal when a finding forbids writing: exit 5, or 4 where all that is wrong is that it cannot be told."""
    refused = [found for found in findings if found.severity == "refuse"]
    if not refused:
        return
    told = any(found.told for found in refused)
    liftable = next((found for found in refused if found.liftable), None)
    lines = []
    for found in refused:
        said = f"{found.check}: {found.text}{'' if found.text.endswith('.') else '.'} {found.remedy}".rstrip()
        lines.append(said if said.endswith((".", "?", "!", ":")) else f"{said}.")
        if found.liftable and len(refused) > 1:
            lines.append(f"A named person may lift it: {lift_command(found)}")
    raise Refusal(ExitCode.REFUSED if told else ExitCode.SOME_FAILED, Problem(
        "the preflight refuses" if told else "the preflight could not tell", lines=(*lines, "Nothing was changed." + (
            f" A named person may lift {liftable.check}." if liftable and len(refused) == 1 else "")),
        next_command=lift_command(liftable)
        if liftable and len(refused) == 1 else "mailmove doctor" if told else "mailmove apply"))


def judge_clock(findings: Iterable[Finding]) -> None:
    """Raises Refusal where this machine's clock is not to be believed (B4).

    To be asked before anything is written: journal time never goes back, so one record of a clock that was years ahead
    would put off every later wait by as much.
    """
    judge(found for found in findings if found.check == "clock" and found.told)


def lift_command(found: Finding) -> str:
    """What a person types to go on in spite of a refusal that may be lifted."""
    return f"mailmove override {found.check} organisation --reason TEXT"


def _mapping(found: Finding) -> dict[str, Any]:
    return {"severity": found.severity, "text": found.text, "remedy": found.remedy, "rows": list(found.rows),
            "count": found.count, "liftable": found.liftable, "check": found.check}


def _finding(body: Mapping[str, Any]) -> Finding:
    return Finding(str(body["check"]), body["severity"], str(body["text"]), str(body["remedy"]), tuple(body["rows"]),
                   int(body["count"]), True, bool(body["liftable"]))
