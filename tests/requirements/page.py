"""docs/coverage.md: every requirement, what fulfils it, the tests that would miss it. `make docs` writes it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.requirements.evidence import ROOT, Evidence, files, load, titles
from tests.requirements.marked import Marked, collect

PAGE = ROOT / "docs" / "coverage.md"
PARTS = {"B": "Both migration types", "C": "Cutover only", "S": "Staged only"}
INTRODUCTION = """\
# Requirements and their tests

Written by `make docs` from the marks on the tests and from `tests/requirements/*.yml`; a test fails when it is stale.

Each entry says in one sentence what can be observed, where it is fulfilled, which tests hold it, and against what it
was ever met: *lab* is the simulated organisation of [lab.md](lab.md), *real* an independent server that others wrote,
*never* means that no run has met it. The break is a change at one place that turns one of these tests red: `make
coverage-teeth SEED=1 COUNT=20` draws twenty of them, makes each in a copy of the tree, and demands it.
"""


def page(tests: Sequence[Marked]) -> str:
    """The whole page."""
    known = titles()
    evidence = {name: load(path) for name, path in files().items()}
    by_id: dict[str, list[Marked]] = {name: [] for name in known}
    for test in tests:
        for name in test.requirements:
            by_id.setdefault(name, []).append(test)
    lines = [INTRODUCTION, *_summary(known, evidence, by_id)]
    for letter, title in PARTS.items():
        lines += ["", f"## {title}"]
        for name in (each for each in known if each.startswith(letter)):
            lines += ["", f"### {name} {known[name]}", "", *_entry(evidence.get(name), by_id[name])]
    return "\n".join(lines) + "\n"


def _summary(known: Mapping[str, str], evidence: Mapping[str, Evidence],
             by_id: Mapping[str, Sequence[Marked]]) -> Iterator[str]:
    yield "| | requirements | done | facts only | met for real | in the lab | never met | marked tests |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for letter, title in PARTS.items():
        ids = [name for name in known if name.startswith(letter)]
        done = [evidence[name] for name in ids if name in evidence and by_id[name]]
        met = Counter(_met(each) for each in done if not each.fact)
        tests = {test.node for name in ids for test in by_id[name]}
        yield (f"| {title} | {len(ids)} | {len(done)} | {sum(bool(each.fact) for each in done)} | {met['real']} "
               f"| {met['lab']} | {met['never']} | {len(tests)} |")


def _met(evidence: Evidence) -> str:
    return evidence.met.partition(" ")[0]


def _entry(evidence: Evidence | None, tests: Sequence[Marked]) -> Iterator[str]:
    if evidence is None:
        yield "Not yet."
        return
    yield evidence.says
    yield ""
    if evidence.fact:
        yield f"- a fact; told in: {evidence.fact}"
    else:
        yield f"- by: {'; '.join(evidence.by)}"
    yield f"- tests: {', '.join(_tests(tests)) or 'none'}"
    servers = sorted({server for test in tests for server in test.servers})
    if not evidence.fact or servers:
        yield f"- met: {evidence.met}" + (f" (tests on {', '.join(servers)})" if servers else "")
    if evidence.breaks:
        yield f"- break: `{evidence.breaks.file}`: {_code(evidence.breaks.find)} → {_code(evidence.breaks.put)}"


def _tests(tests: Sequence[Marked]) -> Iterator[str]:
    """Each test function once, with how many of its cases are marked."""
    for function, count in Counter(test.function for test in tests).items():
        path, _, name = function.partition("::")
        yield f"[{name}](../{path})" + (f" ({count} cases)" if count > 1 else "")


def _code(text: str) -> str:
    """One line of code, whatever it holds."""
    line = " ⏎ ".join(part.strip() for part in text.strip().splitlines())
    if not line:
        return "*nothing*"
    return f"`{line}`" if "`" not in line else f"`` {line} ``"


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(page(collect()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
