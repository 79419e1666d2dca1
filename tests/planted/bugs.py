"""Bugs to be planted, one at a time, in a copy: what each changes, and which rig has to find it.

Made from lists: every guard of `engine.run.guards` (its rule, and the transition it is matched by), every step of the
record protocol, every digest of the journal, every limiter. A rig knows nothing of the bug: it draws or enumerates.
"""

from __future__ import annotations

from dataclasses import dataclass

#: rig → its command, after `python -m`
RIGS: dict[str, tuple[str, ...]] = {
    "any": ("tests.run.test_any_migration", "--seeds", "60", "--stop"),
    "guards": ("pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/run/test_guard_matrix.py",
               "tests/run/test_guard_undo.py"),
    "stories": ("pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/run/test_journal.py::TestStories"),
    "races": ("bench.journal_races", "--races", "300"),
    "damage": ("bench.journal_damage", "--every", "41", "--tokens", "40"),
    "writes": ("bench.journal_writes", "--draw", "40"),
    "limits": ("pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/run/test_guard_limits.py"),
    "stop": ("bench.operators", "stop", "--rounds", "12"),
    "kills": ("bench.kill_matrix", "--playbook", "staged-2007", "--draw", "400", "--stop"),
    "simulation": ("tests.simulation", "--seeds", "1..24", "--size", "6", "--jobs", "1", "--twins", "0",
                   "--stop"),
    "calls": ("pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/connections/test_http_drawn.py",
              "tests/connections/test_storm.py"),
}


@dataclass(frozen=True)
class Bug:
    """`old` becomes `new` in `file`, at its only place; `only` narrows a pytest rig to the guard's own rows."""

    name: str
    of: str  # guard | protocol | journal | limiter
    file: str
    old: str
    new: str
    rig: str
    only: str = ""


#: guard → the file of its rule
GUARDS = {
    "mx_to_cloud": "routing", "mx_back": "routing", "autodiscover_moved": "routing", "batch_removed": "batches",
    "batch_restarted": "batches", "mailbox_converted": "mailboxes", "licence_removed": "mailboxes",
    "mailbox_reconnected": "mailboxes", "directory_sync_off": "organisation", "endpoint_changed": "organisation"}
#: How each transition is recognised, and what is planted there.
_MATCHED = {
    "mx_to_cloud": ('found = ("mx_to_cloud",) if gained or not lost else ()', "found = ()"),
    "mx_back": ('return (*found, "mx_back") if lost else found', "return found"),
    "batch_removed": ('return ("batch_removed",)', "return ()"),
    "batch_restarted": ('return ("batch_restarted",)', "return ()"),
    "mailbox_converted": ('if family == "conversion" and diff.verb != "create":\n        return ("mailbox_converted",)',
                          'if family == "conversion" and diff.verb != "create":\n        return ()'),
    "directory_sync_off": ('return ("directory_sync_off",)', "return ()"),
    "autodiscover_moved": ('return ("autodiscover_moved",)', "return ()"),
    "endpoint_changed": ('return ("endpoint_changed",)', "return ()"),
    "licence_removed": ('for change in diff.changes)):\n        return ("licence_removed",)',
                        "for change in diff.changes)):\n        return ()"),
    "mailbox_reconnected": ('return ("mailbox_reconnected",)', "return ()"),
}
_GUARDS, _TRANSITIONS = "engine/run/guards/__init__.py", "engine/run/guards/transitions.py"
_ACT, _RUN, _FLOOR, _STAND = "engine/run/act.py", "engine/run/execute.py", "engine/run/floor.py", "engine/run/stand.py"
_JOURNAL, _LEASE, _RECORDS, _GATES = (f"engine/run/{name}.py" for name in ("journal", "lease", "records", "gates"))
_HTTP = "engine/connections/http.py"
_APPROVAL = "        if word is None or now > holds_until(template, word, program):\n            return None\n"

BUGS: list[Bug] = [
    *(Bug(f"{guard}: its rule always says yes", "guard", _GUARDS, f'"{guard}": {file}.{guard},',
          f'"{guard}": lambda ground, act, now: Verdict("{guard}", True, "planted"),', "guards", guard)
      for guard, file in GUARDS.items()),
    *(Bug(f"{guard}: its transition is not recognised", "guard", _TRANSITIONS, *_MATCHED[guard], "guards", guard)
      for guard in GUARDS),
    Bug("a fault of a guard's look is a yes", "guard", _GUARDS,
        'verdicts.append(Verdict(guard, None, f"it could not be checked: {fault}"))',
        'verdicts.append(Verdict(guard, True, str(fault)))', "guards"),
    Bug("who comes after the switch does not keep the batch", "guard", "engine/run/guards/batches.py",
        "    if moved is None:\n        return []\n    users = ", "    return []\n    users = ", "simulation"),
    Bug("a clock that cannot be compared is a yes", "guard", _GUARDS,
        """return Verdict("clock", None, f"it could not be compared with a service's: {fault}")""", "return None",
        "guards", "clock"),
    # ------------------------------------------------------------------------------- the record protocol
    Bug("the call is made before its intent is on disk", "protocol", _ACT, "self.flush()  # durable before any call",
        "pass", "any"),
    Bug("what nobody consented to is done", "protocol", _ACT, "if not self._consented(template, one):", "if False:",
        "any"),
    Bug("an act in doubt that makes something is done again at once", "protocol", _ACT,
        "if effect == \"create\" and one.state is None and now < since + VISIBILITY_BOUND:", "if False:", "any"),
    Bug("a letter in doubt is sent again", "protocol", _RUN,
        'if past is not None and past.last == "intent" and template.module.effect == "send":', "if False:", "any"),
    Bug("a kill between the call and its intent", "protocol", _ACT, "self.flush()  # durable before any call", "pass",
        "kills"),
    Bug("a letter in doubt is sent again after a kill", "protocol", _RUN,
        'if past is not None and past.last == "intent" and template.module.effect == "send":', "if False:", "kills"),
    Bug("done is believed without a look", "protocol", _ACT,
        'if one.diff is None or (template.module.reads == "journal" and one.state is not None):', "if True:", "any"),
    Bug("a refused act counts as accepted", "protocol", _ACT, '"ok": False, "fault": _fault(answer)}',
        '"ok": True}', "any"),
    Bug("what is on hold is touched", "protocol", "engine/run/fold.py",
        'return "" in self._held_rows or row in self._held_rows', "return False", "any"),
    Bug("an approval is granted before anybody has spoken", "protocol", _GATES, _APPROVAL,
        '        if word is None:\n            return {"granted": True, "by": "", "at": now, "reason": ""}\n'
        + _APPROVAL,
        "any"),
    Bug("a lost lease is not noticed by an append", "protocol", _JOURNAL,
        "if fence != self._fence or not kept:\n            raise locked(\"this run no longer holds the migration\", "
        "decode(kept) if kept else {})\n        return", "if False:\n            raise\n        return", "races"),
    Bug("a lost lease is not noticed before a call", "protocol", _JOURNAL,
        "if fence != self._fence or not kept:\n            raise locked(\"this run no longer holds the migration\", "
        "decode(kept) if kept else {})\n        if", "if False:\n            raise\n        if", "races"),
    Bug("no client asks before a call", "protocol", _RUN, "site.before_call = journal.confirm", "pass", "stop"),
    Bug("a new holder has the old one's fence", "protocol", _JOURNAL,
        "(fence + 1, now, encode(dict(holder))))\n        self._fence = int(fence) + 1",
        "(max(fence, 1), now, encode(dict(holder))))\n        self._fence = max(int(fence), 1)", "races"),
    # ------------------------------------------------------------------------------- the journal's own steps
    Bug("the digest leaves out the body", "journal", _RECORDS, r"{row}{key}{body}", r"{row}{key}", "damage"),
    Bug("the digest leaves out the row", "journal", _RECORDS, r"{row}{key}{body}", r"{key}{body}", "damage"),
    Bug("the digest leaves out time and fence", "journal", _RECORDS, 'f"{seq} {at} {fence} ', 'f"{seq} ', "damage"),
    Bug("digests are not checked when a record is read", "journal", _JOURNAL,
        "            sound = digest == chained(", "            sound = True or digest == chained(", "damage"),
    Bug("the tokens of a consent are not checked", "journal", _JOURNAL,
        "if not sound or tokens_digest(tokens) != record.body[\"digest\"]:", "if False:", "damage"),
    Bug("a write that failed is reported as done", "journal", _JOURNAL,
        'raise _refusal(self.path, "the journal cannot be written", str(error),',
        'return\n                raise _refusal(self.path, "the journal cannot be written", str(error),', "writes"),
    Bug("journal time follows the clock back", "journal", _JOURNAL, "max(clock, last) if records", "clock if records",
        "stories"),
    Bug("every record begins a chain of its own", "journal", _JOURNAL, "digest = chained(digest, seq, at,",
        "digest = chained(NOTHING, seq, at,", "stories"),
    # ------------------------------------------------------------------------------- limiters
    Bug("no pause before another try", "limiter", _FLOOR,
        "pause = max(TRY_AGAIN[min(tries, len(TRY_AGAIN) - 1)], timedelta(seconds=at_least))",
        "pause = timedelta(0)", "any"),
    Bug("it never gives up", "limiter", _FLOOR, "if not passing or (tries >= len(TRY_AGAIN) and not patient):",
        "if not passing:", "any"),
    Bug("windows are always open", "limiter", _GATES, "return None if begin == now else begin", "return None", "any"),
    Bug("waits are over at once", "limiter", _STAND, "                if due > now:",
        "                if False:", "any"),
    Bug("an approval holds for ever", "limiter", _GATES, _APPROVAL,
        "        if word is None:\n            return None\n", "any"),
    Bug("every look is a record", "limiter", "engine/run/fold.py",
        "return self.parked == _signature(phase, what, reason)", "return False", "any"),
    Bug("the lease of a live holder is taken", "limiter", _LEASE,
        "return now >= beat + LEASE_MICROSECONDS or", "return True or", "races"),
    Bug("a holder that is gone is waited for, for ever", "limiter", _LEASE,
        "return now >= beat + LEASE_MICROSECONDS or (same_host", "return False and (same_host", "races"),
    Bug("conversions all at once", "limiter", _ACT, "room = len(go) if quota is None else",
        "room = len(go) if True else", "limits"),
    Bug("what is being converted is not counted", "limiter", _ACT,
        "self.converting.update((template.index, one.slot) for one in go)", "pass", "limits"),
    Bug("conversions that an earlier run left under way are not counted", "limiter", _RUN, "self.count_conversions()",
        "pass", "limits"),
    Bug("after the first conversion all the others", "limiter", _TRANSITIONS,
        "return second if done < first + second else None", "return None", "limits"),
    Bug("the budget of guarded acts is not looked at", "limiter", _ACT,
        "if most is not None and self.guarded_acts + len(page) > int(str(most)):", "if False:", "limits"),
    Bug("guarded acts are not counted", "limiter", _ACT,
        "            self.guarded_acts += bool(guards.names(one.module, one.diff))\n"
        "            self.stand.phases", "            self.stand.phases", "limits"),
    Bug("a budget is meant twice", "limiter", _ACT, "self.guarded_acts + len(page) > int(str(most))",
        "self.guarded_acts + len(page) > 2 * int(str(most))", "simulation"),
    Bug("a dead holder elsewhere is waited for, for hours", "limiter", _LEASE,
        "return now >= beat + LEASE_MICROSECONDS or", "return now >= beat + 100 * LEASE_MICROSECONDS or", "simulation"),
    Bug("a run sleeps until its last timer", "limiter", _RUN,
        "until = min(waits) if waits else None\n        if self.pre",
        "until = max(waits) if waits else None\n        if self.pre", "simulation"),
    Bug("a token of another tenant is as good", "protocol", "engine/connections/tokens.py", "if found != wanted:",
        "if False:", "simulation"),
    Bug("a file is written in its place", "protocol", "engine/world.py", "        Path(temporary).replace(path)",
        "        path.write_bytes(data)\n        Path(temporary).unlink()", "simulation"),
    Bug("a pause is kept to eight times over", "limiter", _HTTP,
        "+ timedelta(seconds=seconds)\n            self._pause",
        "+ timedelta(seconds=8 * seconds)\n            self._pause", "calls"),
    Bug("what an expression gives is compiled again", "protocol", "engine/language/template.py",
        "        return join_text([each(scope) for each in evaluates])",
        "        found = join_text([each(scope) for each in evaluates])\n"
        "        return compile_text(found, names).evaluate(scope) if \"{{\" in str(found) else found", "simulation"),
    Bug("a request is tried until the time of its call is over", "limiter", _HTTP, "if tried >= tries or clock.now()",
        "if clock.now()", "calls"),
    Bug("a call has all the time there is", "limiter", _HTTP,
        " or clock.now() + timedelta(seconds=wait) > started + BUDGET:", ":", "calls"),
    Bug("the pause a service asks for is not heard", "limiter", _HTTP,
        "why, wait = self._judge(answer, write), retry_after(answer.headers, clock.now())",
        "why, wait = self._judge(answer, write), None", "calls"),
    Bug("the pause a service asks for holds for one call only", "limiter", _HTTP,
        "                    self.hold_back(wait)", "                    pass", "calls"),
    Bug("a pause longer than the call is waited for in it", "limiter", _HTTP,
        "if until is not None and until > started + BUDGET:", "if False:", "calls"),
    Bug("no pause before another request", "limiter", _HTTP,
        "return min(BACK_OFF_SECONDS_MAX, 2.0 ** tried * self._site.world.random.uniform(0.5, 1.5))", "return 0.0",
        "calls"),
    Bug("a write whose answer is lost is sent again", "protocol", _HTTP,
        "            except _LostError as lost:\n                if write:",
        "            except _LostError as lost:\n                if False:", "calls"),
    Bug("a write that a gateway broke is sent again", "protocol", _HTTP,
        "if answer.status in BROKEN and not said.considered:\n            if write:",
        "if answer.status in BROKEN and not said.considered:\n            if False:", "calls"),
]
