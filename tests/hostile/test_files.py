"""Files and the machine: nothing followed, nothing waited for, nothing read or written but what is named (I1 to I4)."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from engine import app
from engine.cli import main
from engine.connections import Site
from engine.contract import Rejected
from engine.modules.batch_history import BatchHistory
from engine.modules.endpoint_test import EndpointTest
from engine.world import World, write_whole
from tests.hostile import story

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60  # of a command that must not wait for anybody; only a hang is as long


def mailmove(folder: Path, *commands: list[str], umask: int = 0o022) -> list[tuple[int, str]]:
    """The commands in a process of their own: exit code and what was said. Waiting for ever fails the test."""
    job = folder / "job.json"
    job.write_text(json.dumps([{"words": each} for each in commands]), encoding="utf-8")
    ran = subprocess.run([sys.executable, "-m", "tests.hostile.driver", str(job)], cwd=folder, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, umask=umask, timeout=SECONDS_MAX, check=False,
                         stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)})
    said = re.split(r"^@\d+\n", ran.stdout, flags=re.MULTILINE)[1:]
    assert len(said) == len(commands) and "BUG" not in ran.stdout, ran.stdout
    return [(int(re.findall(r"^\[exit (\d+)\]$", each, re.MULTILINE)[-1]), each) for each in said]


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    app.init(tmp_path / "acme", "staged")
    return tmp_path / "acme"


# ----------------------------------------------------------------------------------- what stands in a file's place


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def dangling(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("not there"))


def hard(path: Path, victim: Path) -> None:
    os.link(victim, path)


def fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, victim: Path) -> None:
    path.mkdir()


def door(path: Path, victim: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is bounded
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def circle(path: Path, victim: Path) -> None:
    path.symlink_to(path)


ATTACKS: tuple[Callable[[Path, Path], None], ...] = (link, dangling, hard, fifo, folder, door, circle)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_nothing_is_written_through_what_stands_in_the_place_of_a_file(
        attack: Callable[[Path, Path], None], acme: Path, tmp_path: Path) -> None:
    """State, lock and the files that a person names to be written."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    victim.chmod(0o640)
    name = app.migration_name(acme / "inventory.yml")
    place = tmp_path / "state" / name
    place.mkdir(parents=True, mode=0o700)
    attack(place / "journal.sqlite", victim)
    written = [["report", "-p", str(acme), "--html"], ["plan", str(acme), "--out"],
               ["plan", str(acme), "--format", "html", "--out"]]
    for number, words in enumerate(written):
        attack(tmp_path / f"out{number}", victim)
        words += [str(tmp_path / f"out{number}"), "--state", str(tmp_path / "other")]
    (code, said), *_ = mailmove(acme, ["hold", "-p", str(acme), "--reason", "x", "--by", "maria", "--state",
                                       str(tmp_path / "state")], *written)
    assert code == 9 and "journal" in said
    assert victim.read_text() == "untouched" and stat.S_IMODE(victim.stat().st_mode) == 0o640
    assert not victim.with_name("not there").exists()


#: what a person hands over to be read
READ = ("playbook.yml", "inventory.yml", "mailboxes.csv", "batches/Batch01.csv", "letters/welcome.txt", "plan.json")


@pytest.mark.parametrize("attack", [fifo, folder, dangling, door, circle], ids=lambda attack: attack.__name__)
def test_nothing_is_waited_for_in_the_place_of_a_file_that_is_read(
        attack: Callable[[Path, Path], None], tmp_path: Path) -> None:
    commands = []
    for number, name in enumerate(READ):
        acme = tmp_path / f"acme{number}"
        app.init(acme, "staged")
        inventory = acme / "inventory.yml"
        if "\nletters:" not in inventory.read_text():
            inventory.write_text(inventory.read_text() + "\nletters: letters\n")
        path = acme / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        attack(path, acme / "victim")
        commands.append(["apply", str(path), "--yes"] if name == "plan.json" else ["check", str(acme)])
    for name, (code, said) in zip(READ, mailmove(tmp_path, *commands), strict=True):
        assert code in (2, 3, 6), (name, said)


def test_a_file_swapped_in_a_race_is_old_or_new_and_the_link_is_not_followed(tmp_path: Path) -> None:
    """While one process writes, another puts links to a victim in the file's place, over and over."""
    victim, path = tmp_path / "victim", tmp_path / "report.html"
    victim.write_text("untouched")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            other = tmp_path / "other"
            other.unlink(missing_ok=True)
            other.symlink_to(victim)
            other.replace(path)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for number in range(300):
            write_whole(path, b"x" * number)
    finally:
        over.set()
        swapping.join()
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077])
def test_modes_are_ours_under_any_umask(umask: int, acme: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    held, told = mailmove(acme, ["hold", "-p", str(acme), "--reason", "x", "--by", "m", "--state", str(state)],
                          ["report", "-p", str(acme), "--html", str(acme / "dossier.html"), "--state", str(state)],
                          umask=umask)
    assert held[0] == told[0] == 0
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in [*state.glob("*"), *state.glob("*/*"),
                                                                 acme / "dossier.html"]}
    assert found and all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in found.items()), found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_state_of_another_user_is_refused_with_the_way_out(tmp_path: Path) -> None:
    state = story.migration(tmp_path / "told", ["x"] * 12)
    words = ["status", "-p", str(tmp_path / "told"), "--state", str(state)]
    assert main(words, io.StringIO(), io.StringIO(), World()) == 0  # and everything is imported
    for path in (state, *state.rglob("*")):
        os.chown(path, 4711, 4711)
        path.chmod(0o777)
    for path in (tmp_path, *tmp_path.parents):
        path.chmod(path.stat().st_mode | 0o055)
        if path.name.startswith("pytest-of-"):
            break
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(4712)
            os.setuid(4712)
            said = io.StringIO()
            os.write(theirs, f"{main(words, said, said, World())} {said.getvalue()}".encode())
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours) as stream:
        seen = " ".join(stream.read().split())
    assert seen.startswith("9 ") and f"sudo chown -R $USER {next(state.iterdir())}" in seen


# --------------------------------------------------------------------------------------------- paths out of data


def paths() -> Iterator[str]:
    """At least 200 names that would like to lead elsewhere; {canary} is a file outside of the project."""
    up = ["..", "../..", "sub/../..", "./..", "sub/../../sub/..", "....//..", "..;", "%2e%2e", "..%2f", "\uff0e\uff0e",
          "\u2025", "..\u200b"]
    ends = ["canary", "canary/", "canary.", "CANARY", "canary\u0301", "./canary", "canary ", "canary\t"]
    yield from (f"{first}/{last}" for first, last in product(up, ends))
    yield from (f"{first}\\{last}" for first, last in product(up[:6], ends[:4]))
    yield from ("{canary}", "/{canary}", "//{canary}", "file://{canary}", "{canary}\0.csv", "~/canary", "~root/canary",
                "$HOME/canary", "link/canary", "link", "/dev/stdin", "/dev/fd/0", "/proc/self/environ", "/etc/passwd",
                "/dev/zero", "/dev/tty", "", ".", "..", "/", "//", "\\", "\0", "\n", "x\0y")
    yield from (f"{letter}{rest}" for letter, rest in product(
        ("C:", "c:", "\\\\host\\share", "\\\\?\\C:", "\\\\.\\", "//host/share", "\\\\.\\pipe\\", "C:\\..\\", "C:/"),
        ("", "\\canary", "/canary", "canary")))
    yield from (f"{name}{end}" for name, end in product(
        ("CON", "PRN", "AUX", "NUL", "COM1", "LPT9", "con", "Nul", "CONIN$"), ("", ".csv", ".yml", ":", " .txt")))
    yield from ("a" * 256, "a" * 5_000, "a/" * 2_000 + "x", "\u00e9.csv", "e\u0301.csv", "K.csv", "\u212a.csv",
                "\ufb01.csv", "fi.csv", "a.csv::$DATA", "a.csv:stream", "..\u2215canary", "..\uff0fcanary",
                "..\u2044canary", "\u202e..")


#: what a file parameter is written as: file, and its text with PATH in it (JSON text is YAML)
PARAMETERS = {
    "rows": "inventory.yml", "batch": "inventory.yml", "letters": "inventory.yml", "list": "inventory.yml",
    "import_playbook": "playbook.yml", "import_tasks": "playbook.yml", "vars_files": "playbook.yml",
    "letter": "playbook.yml"}
INVENTORY = """migration: acme
type: staged
exchange: "2007"
tenant: {{id: 9a1e0000-0000-4000-8000-000000000001, domain: contoso.onmicrosoft.com}}
rows:
  domains: [{{domain: contoso.com}}]
  mailboxes: {rows}
  batches: [{{batch: B1, csv: {batch}}}]
letters: {letters}
connections: {{ews: {{provider: list, file: {list}}}}}
"""
PLAYBOOK = """- import_playbook: {import_playbook}
- name: P
  targets: domains
  vars_files: [{vars_files}]
  tasks:
    - import_tasks: {import_tasks}
    - name: T
      mail: {{id: a, to: anna@contoso.com, letter: {letter}}}
"""
#: Run in a process of its own: every file that is opened while a project is checked, by an audit hook.
WATCH = """
import io, json, os, sys
from engine.cli import main
from engine.world import World
main(["check", sys.argv[2]], io.StringIO(), io.StringIO(), World())  # everything is imported by now
root, opened = os.path.realpath(sys.argv[1]), set()
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.add(os.path.realpath(os.fsdecode(arguments[0])))
sys.addaudithook(watch)
bugs = []
for number in range(int(sys.argv[3])):
    try:
        main(["check", os.path.join(root, f"case{number}")], io.StringIO(), io.StringIO(), World())
    except Exception as error:
        bugs.append(f"{number}: {error!r}")
inside = (root, *(os.path.realpath(each) for each in (sys.prefix, sys.base_prefix, sys.argv[4])),
          "/proc/sys/kernel/random/boot_id")
print(json.dumps({"bugs": bugs, "opened": len(opened), "outside": [each for each in opened if not any(
    each == place or each.startswith(place + os.sep) for place in inside)]}))
"""


def test_no_path_leads_out_of_the_project(tmp_path: Path) -> None:
    root, outside = tmp_path / "projects", tmp_path / "canary"
    outside.write_text("address\ncanary@contoso.com\n")
    names = [each.replace("{canary}", str(outside)[1:] if each.startswith("/") else str(outside)) for each in paths()]
    assert len(set(names)) >= 200
    # every name in every parameter at once, and – since one fault may keep another from being met – some alone
    cases: list[dict[str, str]] = [dict.fromkeys(PARAMETERS, json.dumps(name)) for name in names]
    cases += [{parameter: json.dumps(name)} for at, parameter in enumerate(PARAMETERS) for name in names[at::8]]
    for number, hostile in enumerate(cases):
        case = root / f"case{number}"
        (case / "sub").mkdir(parents=True)
        (case / "link").symlink_to(tmp_path)
        values = dict.fromkeys(PARAMETERS, '"sub/none.yml"') | hostile
        (case / "inventory.yml").write_text(INVENTORY.format(**values), encoding="utf-8")
        (case / "playbook.yml").write_text(PLAYBOOK.format(**values), encoding="utf-8")
    ran = subprocess.run([sys.executable, "-c", WATCH, str(root), str(root / "case0"), str(len(cases)), str(ROOT)],
                         capture_output=True, text=True, cwd=tmp_path, check=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT)})
    found = json.loads(ran.stdout)
    assert found["bugs"] == [] and found["outside"] == []
    assert found["opened"] >= len(cases)  # the hook sees what is opened


def test_a_name_from_data_is_one_file_of_its_own_folder_or_refused(tmp_path: Path) -> None:
    """Batches and endpoints, whose names become files of the exports folder."""
    site, made = Site({}, {"exports": str(tmp_path / "exports")}, World()), {}
    names = [each for each in paths() if each]
    for name in names:
        made[name] = EndpointTest(endpoint=name)._path(site)
        with contextlib.suppress(Rejected):
            made[f"batch {name}"] = BatchHistory(batch=name)._path(site, ".csv")
    assert all(each.parent == tmp_path / "exports" and len(each.name) < 200 for each in made.values())
    assert len(set(made.values())) == len(made) >= len(set(names))
    assert all(each.name.isascii() and ":" not in each.name for each in made.values())


# -------------------------------------------------------------------------------------- the folder one works in


@pytest.mark.server("strace")
def test_nothing_is_taken_from_a_hostile_working_folder(acme: Path, tmp_path: Path) -> None:
    """Modules, packages, interpreter and tool configuration, .netrc and proxy variables beside the playbook."""
    marker = tmp_path / "loaded"
    spoils = f"from pathlib import Path\nPath({str(marker)!r}).open('a').write(__file__ + '\\n')\n"
    for name in ("yaml", "jinja2", "sitecustomize", "usercustomize", "requests", "json", "engine", "typing", "dns",
                 "ssl", "encodings", "mailmove", "rich", "jsonschema", "ldap3", "exchangelib"):
        (acme / f"{name}.py").write_text(spoils)
        (acme / name).mkdir(exist_ok=True)
        (acme / name / "__init__.py").write_text(spoils)
    (acme / "evil.pth").write_text(f"import pathlib; pathlib.Path({str(marker)!r}).open('a').write('pth')\n")
    (acme / ".netrc").write_text("machine localhost login canary password canary\n")
    for name in ("pyproject.toml", "setup.cfg", ".env", "pip.conf", "mailmove.toml", ".mailmove.yml", "ansible.cfg"):
        (acme / name).write_text("canary = true\n")
    seen = tmp_path / "trace"
    for words in (["check", "."], ["plan", "--state", str(tmp_path / "state")],
                  ["doctor", "--state", str(tmp_path / "state")]):
        command = [str(Path(sys.executable).with_name("mailmove")), *words]
        ran = subprocess.run(["strace", "-f", "-e", "trace=open,openat", "-o", str(seen), *command], cwd=acme,
                             capture_output=True, text=True, timeout=SECONDS_MAX * 2, check=False, env={
                                 "PATH": os.environ["PATH"], "HOME": str(acme), "HTTPS_PROXY": "http://127.0.0.1:9"})
        assert "Traceback" not in ran.stderr, ran.stderr
        planted = (".netrc", "pyproject.toml", "setup.cfg", ".env", "yaml", "jinja2", "evil.pth", "sitecustomize",
                   "mailmove.toml", ".mailmove.yml", "engine", "pip.conf")
        taken = [line for line in seen.read_text(errors="replace").splitlines() if "= -1" not in line and any(
            f'"{start}{name}' in line for start in ("", "./", f"{acme}/") for name in planted)]
        assert taken == []
    assert not marker.exists(), marker.read_text()


# ------------------------------------------------------------------------------------------------ in the source


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def through_a_shell(tree: ast.AST) -> list[str]:
    """Calls that give a text to a shell, or could."""
    return [f"line {node.lineno}: {name}" for name, node in calls(tree) if name in (
        "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "eval", "exec", "pickle.loads",
        "marshal.loads", "asyncio.create_subprocess_shell", "yaml.load", "__import__")
        or any(each.arg == "shell" and not (isinstance(each.value, ast.Constant) and each.value.value is False)
               for each in node.keywords)]


def test_no_text_is_given_to_a_shell_or_an_interpreter() -> None:
    files = [path for path in (ROOT / "engine").rglob("*.py") if "_data" not in path.parts]
    assert len(files) > 100
    assert {str(path): found for path in files if (found := through_a_shell(ast.parse(path.read_text())))} == {}


@pytest.mark.parametrize("planted", ["os.system(x)", "subprocess.run(x, shell=True)", "subprocess.run(x, shell=y)",
                                     "eval(x)", "os.popen(x)", "pickle.loads(x)", "yaml.load(x)"])
def test_the_rule_finds_what_it_forbids(planted: str) -> None:
    assert through_a_shell(ast.parse(planted))
