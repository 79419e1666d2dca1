"""Every way we know in which a file can be wrong: refused with its place, its cause and what would work.

corpus/*.yml are lists of

    case: what is wrong               as: playbook | inventory | mailboxes | batch | plan – whose place the file takes
    text: …  with ⟦ where the problem is;  or bytes: "Python escapes";  or made: a name in made.py
    name: another file name           at: "line:column", where ⟦ cannot say it
    summary: the problem's first line       says: [pieces of what is shown]       exit: 3 unless said otherwise
    accepted: true                    what looks wrong and is right: nothing is found

A class of faults has at least three unlike files (`test_every_class_has_three_unlike_files`).
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.cli import main
from engine.contract import ExitCode
from engine.report import PROBLEMS_MAX
from engine.world import World
from tests.bad_input.made import MADE, sparse_gigabyte

HERE = Path(__file__).parent
OUTPUT_BYTES_MAX = 64 * 1024
FILES = {"playbook": "playbook.yml", "inventory": "inventory.yml", "mailboxes": "mailboxes.csv",
         "batch": "Batch01.csv", "plan": "plan.json"}
INVENTORY = """\
migration: contoso
type: staged
exchange: "2007"
tenant: {id: 9a1e52c4-7d3b-4f60-8c1d-0e6f2b7a9d31, domain: contoso.onmicrosoft.com}
rows:
  domains: [{domain: contoso.com}]
  mailboxes: mailboxes.csv
  batches: [{batch: Batch01, csv: Batch01.csv}]
"""
PLAYBOOK = """\
- name: Look
  targets: domains
  tasks:
    - name: The domain is known
      tenant_domain: {domain: "{{ target }}", state: present}
"""
MAILBOXES = "address,name,batch\nanna@contoso.com,Anna,Batch01\n"
BATCH = "EmailAddress\nanna@contoso.com\n"


def corpus() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((HERE / "corpus").glob("*.yml")):
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            yield path.stem, case


CASES = list(corpus())


def content(case: dict[str, Any]) -> tuple[bytes, str]:
    """The file's bytes, and the place of its problem as line:column."""
    if "made" in case:
        return MADE[case["made"]](), str(case.get("at", ""))
    if "bytes" in case:
        return case["bytes"].encode("latin-1").decode("unicode_escape").encode("latin-1"), str(case.get("at", ""))
    text = case["text"]
    if "⟦" not in text:
        return text.encode(), str(case.get("at", ""))
    before = text[: text.index("⟦")]
    place = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    return text.replace("⟦", "").encode(), place


def migration(folder: Path, case: dict[str, Any]) -> list[str]:
    """A migration with one bad file in it; the words of the command that must find it."""
    (folder / "inventory.yml").write_text(INVENTORY)
    (folder / "playbook.yml").write_text(PLAYBOOK)
    (folder / "mailboxes.csv").write_text(MAILBOXES)
    (folder / "Batch01.csv").write_text(BATCH)
    kind = case["as"]
    bad = folder / case.get("name", FILES[kind])
    bad.write_bytes(content(case)[0])
    if kind == "plan":
        return ["apply", str(bad), "--state", str(folder / "state")]
    return ["check", str(folder / "playbook.yml" if kind == "mailboxes" else bad)]


def mailmove(*words: str) -> tuple[int, str]:
    screen = io.StringIO()
    code = main(words, screen, screen, World(environment={"USER": "maria"}))
    return code, screen.getvalue()


@pytest.mark.parametrize(("group", "case"), [pytest.param(group, case, id=f"{group}: {case['case']}")
                                             for group, case in CASES])
def test_a_bad_file(group: str, case: dict[str, Any], tmp_path: Path) -> None:
    words = migration(tmp_path, case)
    code, said = mailmove(*words)
    assert len(said.encode()) < OUTPUT_BYTES_MAX
    assert "Traceback" not in said
    if case.get("accepted"):
        assert code == ExitCode.CONVERGED, said[:2000]
        return
    assert code == case.get("exit", ExitCode.INVALID), said[:2000]
    assert f"error: {case['summary']}\n" in said, said[:2000]
    if place := content(case)[1]:
        bad = tmp_path / case.get("name", FILES[case["as"]])
        assert re.search(rf"^error: {re.escape(case['summary'])}\n --> {re.escape(str(bad))}:{place}$", said, re.M), \
            said[:2000]
    for piece in case.get("says", ()):
        assert piece in " ".join(said.split()), said[:2000]
    assert said.count("\nerror: ") + said.startswith("error: ") <= PROBLEMS_MAX
    assert not (tmp_path / "state").exists()


def test_every_class_has_three_unlike_files() -> None:
    bad: dict[str, set[bytes]] = {}
    for group, case in CASES:
        if not case.get("accepted"):
            bad.setdefault(group, set()).add(content(case)[0])
    assert {group: len(files) for group, files in bad.items() if len(files) < 3} == {}
    assert len(bad) >= 25


#: Each row of the measured table and each class that was asked for by name, and the cases that are of it.
NAMED = {
    "alias bombs": "yaml_alias_bombs", "merge bombs": "yaml_merge_keys", "depth": "yaml_depth",
    "duplicate keys": "yaml_duplicate_keys", "tags": "yaml_tags", "two documents": "yaml_several_documents",
    "encodings of YAML": "yaml_encodings", "encodings of CSV": "csv_encodings", "NUL": r"\bNUL\b",
    "lone carriage returns": "carriage return", "line separators": r"U\+2028|U\+2029|U\+0085",
    "bidirectional marks": "override|isolate|embedding", "homoglyphs": "Cyrillic|Greek|full width|Kelvin|sharp s",
    "Norway": "Norway", "sexagesimal numbers": "sexagesimal", "octal numbers": "octal|hexadecimal",
    "days that are none": "February|April", "5,000 digits": "five thousand digits", "workbooks": "workbook",
    "HTML": "HTML|page of an error", "gzip": "gzip", "quoting faults": "csv_quotes", "twins by case": "by case",
    "twins by a blank": "by a blank|by a tab", "twins by IDN": "two forms of a domain",
    "twins by normal form": "by normal form", "formula cells": "formula|a command", "2,001 rows": "csv_many_rows",
    "short, long and endless rows": "csv_shape", "headers": "csv_headers", "expressions without bounds": "expressions"}


def test_every_class_named_has_three_unlike_files() -> None:
    of = {name: {content(case)[0] for group, case in CASES if not case.get("accepted")
                 and re.search(pattern, f"{group}: {case['case']}")} for name, pattern in NAMED.items()}
    assert {name: len(files) for name, files in of.items() if len(files) < 3} == {}


def test_a_control_is_accepted(tmp_path: Path) -> None:
    """Without the bad file nothing is found, so what the cases find is in it."""
    for word in ("playbook.yml", "inventory.yml", "Batch01.csv"):
        migration(tmp_path, {"as": "playbook", "text": PLAYBOOK})
        assert mailmove("check", str(tmp_path / word))[0] == ExitCode.CONVERGED


@pytest.mark.parametrize("name", ["playbook.yml", "inventory.yml", "mailboxes.csv", "Batch01.csv", "plan.json"])
def test_a_gigabyte_is_refused_by_its_size(name: str, tmp_path: Path) -> None:
    """In a process of its own, whose whole memory is bounded to 256 MiB of data."""
    migration(tmp_path, {"as": "playbook", "text": PLAYBOOK})
    sparse_gigabyte(tmp_path / name)
    target = "playbook.yml" if name == "mailboxes.csv" else name
    verb = ["apply", str(tmp_path / target), "--state", str(tmp_path / "s")] if name == "plan.json" else [
        "check", str(tmp_path / target)]
    code, said = bounded(verb)
    assert code == ExitCode.INVALID, said  # a plan of that size is taken for a playbook: its first words are not there
    assert "too large" in said


@pytest.mark.slow
@pytest.mark.parametrize("made", [name for name in MADE if "workbook" not in name and "gzip" not in name])
def test_a_made_file_stays_within_256_mib(made: str, tmp_path: Path) -> None:
    case = next(case for _, case in CASES if case.get("made") == made)
    code, said = bounded(migration(tmp_path, case))
    assert code == case.get("exit", ExitCode.INVALID), said[-2000:]


def bounded(words: list[str]) -> tuple[int, str]:
    """A command in a process that may have 256 MiB of data and 30 seconds of processor time."""
    limits = ("import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (1 << 28, 1 << 28));"
              " resource.setrlimit(resource.RLIMIT_CPU, (30, 30));"
              " from engine.cli import run; sys.argv[0] = 'mailmove'; sys.exit(run())")
    done = subprocess.run([sys.executable, "-c", limits, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_bound_is_one(tmp_path: Path) -> None:
    assert shutil.which(sys.executable)
    done = subprocess.run([sys.executable, "-c", "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 28, "
                           "1 << 28)); bytes(1 << 28)"], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr
