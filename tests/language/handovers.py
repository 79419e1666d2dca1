"""For all strings s, s stays s: `python -m tests.language.handovers [--cases 1000000] [--seed 1]`.

A string comes in from outside, is written into the journal as a state that was read, is read back from the file opened
anew, becomes a register, goes through every form of a playbook that hands a value on into a task, from there into the
task's wanted state, into the journal again, and into the report. At each far end it must be the same text, code point
by code point. A case is one string; all hand-overs are done with each.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.contract import Plain, Unknown
from engine.pages import record_mapping
from engine.run.fold import Fold
from engine.run.journal import Journal, Record
from engine.screen import UNSAFE, as_json
from engine.world import StillClock
from tests.hostile.strings import hostile
from tests.language.small import INVENTORY, program

BATCH = 2_000
#: value forms that must give the string itself; `x` comes from the command line, `r` from the journal
FORMS = ("{{ r.v }}", "{{ r['v'] }}", "{{ v }}", "{{ w }}", "{{ r.v | default('d') }}", "{{ r.v ~ '' }}",
         "{{ [r.v] | first }}", "{{ [r.v] | join(',') }}", "{{ r.v if true else 'd' }}", "{{ r.v | text }}",
         "{{ r.before.v }}", "{{ deep.a }}")
MIXED = ("<{{ r.v }}>", "{% {{ r.v }}{{ r.v }} #}")
PLAYBOOK = """
- name: P
  targets: mailboxes
  vars: {{v: "{{{{ r.v }}}}", w: "{{{{ v }}}}", deep: {{a: "{{{{ r.v }}}}"}}}}
  tasks:
    - name: Reads
      dns_record: {{zone: contoso.com, name: "{{{{ target }}}}"}}
      register: r
    - name: Hands on
      dns_record: {{zone: example.com, name: "{{{{ target }}}}", values: {values}}}
"""
#: What strings are made of: one of these, or a code point of any plane.
PIECES = ("{{", "}}", "{%", "%}", "{#", "#}", "7*7", "r.v", "target", "__class__", "''", '"', "\\", "!!python/name:os",
          "&a", "*a", "<<", ": ", "- ", "\n", "\r\n", "\t", "\0", "\x1b[31m", "\u202e", "\u2028", "\ud83d", "\udc00",
          "=1+1", "{\"$time\": 1}", "$time", "$$", "null", "yes", "012", "1e3", "2026-11-25", "%s", "{0}", "<script>",
          "\ufeff", "\u0130", "ﬀ", "e\u0301", " ")


def drawn(rng: random.Random) -> str:
    """One string; every hundredth is long."""
    parts = rng.randint(0, 8) if rng.randrange(100) else 200
    return whole("".join(
        rng.choice(PIECES) if rng.randrange(4) else chr(rng.randrange(0x11_0000)) for _ in range(parts)))


def whole(said: str) -> str:
    """Two halves beside each other are one character by the time anything has read them; lone ones stay."""
    return said.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@dataclass
class FromJournal:
    """`contract.Outputs`: registers as a run has them after it was started anew."""

    states: Mapping[str, Mapping[str, Plain]]

    def register(self, kind: str, row: str, name: str) -> Mapping[str, Plain] | Unknown:
        return {**self.states[row], "before": self.states[row]}


class Handovers:
    """The hand-overs, ready for one batch after the other."""

    def __init__(self, folder: Path, size: int = BATCH, forms: Sequence[str] = FORMS) -> None:
        rows = "".join(f"    - {{address: m{number}@contoso.com, server: ex01}}\n" for number in range(size))
        head, _, tail = INVENTORY.partition("  mailboxes:\n")
        inventory = head + "  mailboxes:\n" + rows + tail[tail.index("  groups:"):]
        self.folder, self.batches = folder, 0
        self.program = program(folder, PLAYBOOK.format(values=json.dumps([*forms, *MIXED])), inventory=inventory)
        self.template, self.forms = self.program.templates[1], forms

    def check(self, strings: Sequence[str]) -> None:
        """Raises AssertionError with the first string that came out another."""
        given: list[Mapping[str, Plain]] = [{said: said, "v": said, "list": (said, (said,))} for said in strings]
        states = self._resumed(given)
        outputs, wanted = FromJournal({f"m{number}@contoso.com": state for number, state in enumerate(states)}), []
        for number, said in enumerate(strings):
            same(states[number], given[number], said, "the journal")
            bound = self.template.bind(number, outputs)
            expected = (said,) * len(self.forms) + (f"<{said}>", f"{{% {said}{said} #}}")
            same(bound.values, expected, said, "the playbook")
            wanted.append(bound.want())
        for said, state in zip(strings, self._resumed(wanted), strict=True):
            same(state["values"][0], said, said, "the journal of the wanted state")

    def _resumed(self, states: Sequence[Mapping[str, Plain]]) -> list[Mapping[str, Plain]]:
        """The states as they are read back once the journal has been opened anew; the report says the same."""
        self.batches += 1
        folder, clock = self.folder / f"batch{self.batches}", StillClock(datetime(2026, 11, 2, tzinfo=UTC))
        journal = Journal.open(folder, clock, create=True)
        journal.hold({"who": "a", "host": "h", "pid": "1", "since": ""})
        journal.append([Record("settled", "P / Reads", "mailboxes", f"m{number}@contoso.com", f"dns/{number}",
                               "dns_record", number.to_bytes(16, "big"), {"index": 0, "state": state, "acted": False})
                        for number, state in enumerate(states)])
        journal.close()
        again = Journal.open(folder, clock, create=False)
        fold, found = Fold.load(again), []
        for number, record in enumerate(again.records()):
            past = fold.past(number.to_bytes(16, "big"))
            assert past is not None
            state = fold.state(past)
            assert state is not None
            told = json.loads(as_json(record_mapping(record)))["body"]["state"]
            same(told, json.loads(as_json(states[number])), str(states[number]), "the report")
            found.append(state)
        again.close()
        (folder / "journal.sqlite").unlink()
        return found


def same(found: object, expected: object, said: str, where: str) -> None:
    assert found == expected, f"{where}: {said!a} became {found!a}"


def extra(folder: Path, strings: Sequence[str]) -> None:
    """Values of the command line: one program for many, since each is compiled with it."""
    names = {f"x{number}": said for number, said in enumerate(strings)}
    values = json.dumps([text for name in names for text in (f"{{{{ {name} }}}}", f"{{{{ {name} | default('d') }}}}")])
    playbook = ("- name: P\n  targets: domains\n  tasks:\n    - name: A\n"
                f"      dns_record: {{zone: contoso.com, values: {values}}}\n")
    found = program(folder, playbook, names).templates[0].bind(0, FromJournal({}))
    same(found.values, tuple(said for each in strings for said in (each, each)), "these", "the command line")


def fields(folder: Path, strings: Sequence[str]) -> int:
    """Fields of rows, and loop items made of them; how many the loader let in. It refuses what does not show."""
    let_in = [said for said in strings if not UNSAFE.search(said) and said.strip() == said and said]
    rows = "".join(f"    - {{address: m{number}@contoso.com, name: {json.dumps(said, ensure_ascii=False)}}}\n"
                   for number, said in enumerate(let_in))
    head, _, tail = INVENTORY.partition("  mailboxes:\n")
    template = program(folder, """
- name: P
  targets: mailboxes
  tasks:
    - name: A
      loop: ["{{ row.name }}", "<{{ row.name }}>"]
      dns_record:
        zone: "{{ 'a' if item == row.name else 'b' }}"
        name: "{{ target }}"
        values: ["{{ item }}", "{{ row.name }}"]
""", inventory=head + "  mailboxes:\n" + rows + tail[tail.index("  groups:"):]).templates[0]
    for number, said in enumerate(let_in):
        found = [template.bind(slot, FromJournal({})).values for slot in template.slots_of(f"m{number}@contoso.com")]
        same(found, [(said, said), (f"<{said}>", said)], said, "the rows")
    return len(let_in)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.language.handovers", description=__doc__)
    arguments.add_argument("--cases", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    said = arguments.parse_args()
    rng, begun, done = random.Random(said.seed), time.process_time(), 0
    with tempfile.TemporaryDirectory() as folder:
        handovers = Handovers(Path(folder))
        while done < said.cases:
            strings = [drawn(rng) for _ in range(min(BATCH, said.cases - done))]
            if not done:
                strings[:len(hostile())] = map(whole, hostile()[:len(strings)])
            handovers.check(strings)
            extra(Path(folder), strings[:200])
            if not done % 20_000:
                fields(Path(folder), strings)
            done += len(strings)
    print(json.dumps({"cases": done, "forms": len(FORMS) + len(MIXED), "seed": said.seed, "changed": 0,
                      "cpu_seconds": round(time.process_time() - begun)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
