"""Letters: where they are found, what is wrong with them and where, and that no password stands in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.contract import Invalid, Program
from engine.language.letters import SHIPPED
from engine.language.operations import NO_OUTPUTS
from engine.language.resolve import resolve

INVENTORY = """\
migration: contoso
type: cutover
letters: letters
rows:
  mailboxes: [{address: anna@contoso.com, name: Anna}, {address: bo@contoso.com, name: Bo}]
"""
PLAY = """\
- name: Letters
  targets: mailboxes
  tasks:
    - name: The user knows
      mail: {id: hello, to: "{{ target }}", %s}
"""


def program(folder: Path, parameters: str = "letter: hello", **letters: str) -> Program:
    (folder / "letters").mkdir(exist_ok=True)
    for name, text in letters.items():
        (folder / "letters" / f"{name}.txt").write_text(text, encoding="utf-8")
    (folder / "inventory.yml").write_text(INVENTORY)
    (folder / "playbook.yml").write_text(PLAY % parameters)
    return resolve(folder / "playbook.yml", folder / "inventory.yml")


def letter(made: Program, slot: int = 0) -> object:
    return made.templates[0].bind(slot, NO_OUTPUTS)


def test_a_letter_is_rendered_for_each_row(tmp_path: Path) -> None:
    made = program(tmp_path, hello="Subject: News for {{ row.name }}\n\nDear {{ row.name | upper }},\n\nhello.\n\n")
    found = [letter(made, slot) for slot in (0, 1)]
    assert [(each.subject, each.text) for each in found] == [  # type: ignore[attr-defined]
        ("News for Anna", "Dear ANNA,\n\nhello.\n"), ("News for Bo", "Dear BO,\n\nhello.\n")]


@pytest.mark.requirement("C-18")
def test_ones_own_letter_comes_before_the_shipped_one_and_its_wording_is_told_apart(tmp_path: Path) -> None:
    shipped = letter(program(tmp_path, "letter: welcome"))
    own = letter(program(tmp_path, "letter: welcome", welcome="Subject: Ours\n\nOurs.\n"))
    assert own.subject == "Ours" != shipped.subject  # type: ignore[attr-defined]
    assert own.template != shipped.template and shipped.template  # type: ignore[attr-defined]
    assert own.want() == shipped.want() and own.key() == shipped.key()  # type: ignore[attr-defined]


@pytest.mark.requirement("C-24")
@pytest.mark.parametrize(("text", "summary", "line", "column"), [
    ("Subject: x\n\nHello {{ row.nmae }}\n", "unknown name", 3, 14),
    ("Subject: x\n\nHello\n\n  {{ nobody }}\n", "unknown name", 5, 6),
    ("Subject: {{ row.name\n\nHello\n", "braces left open", 1, 10),
    ("Hello\n", "not a letter", 1, 1),
    ("Subject: x\nHello\n", "not a letter", 1, 1),
    ("Subject: x\n\n\n", "not a letter", 1, 1),
    ("Subject: x\n\nYour password: {{ row.password }}\n", "password in a letter", 3, 16)])
def test_what_is_wrong_is_told_in_the_letter_itself(tmp_path: Path, text: str, summary: str, line: int,
                                                     column: int) -> None:
    with pytest.raises(Invalid) as wrong:
        program(tmp_path, hello=text)
    problem = wrong.value.problems[0]
    assert problem.mark is not None
    assert Path(problem.mark.file).name == "hello.txt", problem
    assert (problem.summary, problem.mark.line, problem.mark.column) == (summary, line, column)


@pytest.mark.parametrize(("parameters", "summary"), [
    ("letter: wellcome", "unknown letter"), ("letter: ../x", "unknown letter"),
    ("letter: welcome, text: Hello", "letter written twice"), ("subject: x", "parameter will not do"),
    ("subject: x, text: 'First password {{ row.initial_password }}'", "password in a letter")])
def test_what_is_wrong_in_the_task(tmp_path: Path, parameters: str, summary: str) -> None:
    with pytest.raises(Invalid) as wrong:
        program(tmp_path, parameters)
    assert wrong.value.problems[0].summary == summary
    assert wrong.value.problems[0].mark is not None and wrong.value.problems[0].mark.line == 5


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    (tmp_path / "playbook.yml").write_text(PLAY % "letter: welcome")
    with pytest.raises(Invalid) as wrong:
        resolve(tmp_path / "playbook.yml", tmp_path / "inventory.yml")
    assert [each.summary for each in wrong.value.problems] == ["folder not found"]


@pytest.mark.requirement("C-17", "C-23", "C-24", "C-30")
def test_the_shipped_letters_say_what_they_must(tmp_path: Path) -> None:
    texts = {path.stem: " ".join(path.read_text(encoding="utf-8").split()) for path in SHIPPED.glob("*.txt")}
    assert {"announcement", "routing-switched", "new-profile", "welcome", "correction", "administrator"} <= set(texts)
    assert "a delay of up to a day" in texts["announcement"]  # C-17
    assert "Outlook may need an update" in texts["announcement"]  # C-23
    for name in ("routing-switched", "new-profile", "welcome"):
        assert "make a new profile" in texts[name], name  # C-30
    assert "sign-in name is {{" in texts["welcome"] and "never by mail" in texts["welcome"]  # C-24
    for name in texts:
        letter(program(tmp_path, f"letter: {name}"))
