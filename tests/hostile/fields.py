"""Each outside field with each hostile string, and the commands that show it on a terminal.

`journal`: what services, directories and people once said. `typing`: command line, reasons, who is at work. `files`:
cells of CSV, names and texts of YAML, names of files. What services say now is in `stage.py`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from engine import app
from tests.hostile import story
from tests.hostile.terminal import typed

ROOT = Path(__file__).parents[2]
Seen = tuple[int, bytes]
Field = Callable[[Path, Sequence[str]], Seen]


def journal(folder: Path, strings: Sequence[str], rows: int = 40) -> Seen:
    """Every command that reads the journal; those about one row for `rows` of the rows."""
    # SQLite takes no half of a surrogate pair
    said = [each for each in strings if each.encode("utf-8", "ignore").decode() == each]
    state = story.migration(folder, said)
    commands = [["status"], ["status", "--csv"], ["status", "--json"], ["history"], ["history", "--json"],
                ["report", "--html", str(folder / "dossier.html")]]
    for row in story.rows(said)[:: max(1, len(said) // rows)]:
        commands += [["why", row], ["why", row, "Copy"], ["history", row]]
    return run(folder, [{"words": _placed(each, folder, state)} for each in commands])


def typing(folder: Path, strings: Sequence[str]) -> Seen:
    """What a person may type anywhere, with a name in the environment that is no name."""
    app.init(folder, "staged")
    state, jobs = folder / "state", []
    for said in strings:
        for words in (["why", said], ["history", said], ["waive", said, said, "--reason", said], ["doc", said],
                      ["hold", "anna@contoso.com", "--reason", said], ["inventory", "list", said], ["vars", said],
                      ["plan", "--limit", said], ["plan", "-e", said], ["plan", "--tags", said], [said],
                      ["hold", said, "--reason", said, "--by", said], ["status"]):
            jobs.append({"words": _placed(words, folder, state), "user": said or "maria"})
    return run(folder, jobs)


def files(folder: Path, strings: Sequence[str]) -> Seen:
    """Cells of the inventory's lists and of a batch's, texts of a playbook, and the names of these files."""
    app.init(folder, "staged")
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for number, said in enumerate(strings):
        place = folder / f"case{number}"
        for path, data in kept.items():
            to = place / path.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(data)
        for words in _written(place, said):
            (place / "job.json").write_text(json.dumps([*_read(place / "job.json"), {"words": words}]))
    jobs = [job for number in range(len(strings)) for job in _read(folder / f"case{number}" / "job.json")]
    return run(folder, jobs)


def _read(path: Path) -> list[Mapping[str, object]]:
    return json.loads(path.read_text()) if path.exists() else []


def _written(place: Path, said: str) -> Iterator[list[str]]:
    cell = '"' + said.replace('"', '""') + '"'
    written = {
        "mailboxes.csv": f"address,name,type\nanna@contoso.com,{cell},user\n{cell}@contoso.com,Ben,user\n",
        "groups.csv": f"address,name,security,members\nall@contoso.com,{cell},yes,{cell}\n",
        "batch.csv": f"EmailAddress,Password\n{cell},{cell}\n",
        "cell.csv": f"EmailAddress,{cell}\nanna@contoso.com,x\n",
        "texts.yml": f"- name: {json.dumps(said)}\n  targets: domains\n  tasks:\n    - name: {json.dumps(said)}\n"
                     f"      {json.dumps(said)}: {{zone: {json.dumps(said)}}}\n",
        "raw.yml": f"- name: {said}\n  targets: {said}\n",
        "plan.json": json.dumps({"form": "mailmove plan 1", "name": said, "playbook": said}),
        "inventory.yml": f"migration: {json.dumps(said)}\ntype: staged\nvars: {{x: {json.dumps(said)}}}\n",
    }
    for name, text in written.items():
        (place / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        yield ["apply" if name == "plan.json" else "check", str(place / name)]
    yield ["check", str(place / "playbook.yml")]
    yield ["check", str(place / f"{said}.yml")]
    yield ["plan", str(place / "playbook.yml"), "-i", str(place / said), "--state", said]


def run(folder: Path, jobs: Sequence[Mapping[str, object]]) -> Seen:
    """The commands on a terminal: how many ended in a traceback, and what was shown."""
    (folder / "jobs.json").write_text(json.dumps(list(jobs)), encoding="utf-8")
    return typed([sys.executable, "-m", "tests.hostile.driver", str(folder / "jobs.json")], folder,
                 {**os.environ, "PYTHONPATH": str(ROOT)})


def _placed(words: Sequence[str], folder: Path, state: Path) -> list[str]:
    """With the playbook and the state folder, where the command takes them."""
    if words[0] in ("plan", "apply"):
        return [words[0], str(folder / "playbook.yml"), *words[1:], "--state", str(state)]
    if words[0] == "doc" or (len(words) == 1 and words[0] != "status"):
        return list(words)
    if words[0] in ("inventory", "vars"):
        return [*words, "-p", str(folder / "playbook.yml")]
    return [words[0], "-p", str(folder / "playbook.yml"), "--state", str(state), *words[1:]]
