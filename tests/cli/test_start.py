"""The command starts light, and ends the way it says."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

from engine.app import init
from engine.cli import main
from engine.world import World

HEAVY = {
    "exchangelib", "msal", "ldap3", "aiohttp", "dns", "requests", "jinja2", "jsonschema", "rich", "yaml", "sqlite3"}


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, engine.cli, engine.commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_the_version_imports_not_even_our_own_rooms() -> None:
    code = "import sys, engine.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if name.startswith("engine")} == {"engine", "engine.cli"}


def test_a_bug_keeps_its_traceback() -> None:
    code = ("import sys, io; from engine import cli, commands; from engine.world import World\n"
            "commands.COMMANDS['doc'] = lambda *_: 1 / 0\n"
            "cli.main(['doc'], sys.stdout, sys.stderr, World())")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


def test_a_reader_that_leaves_is_no_fault(tmp_path: Path) -> None:
    ended = subprocess.run(f"{sys.executable} -m engine doc --markdown | head -1", shell=True, capture_output=True,
                           text=True, check=False)
    assert ended.stderr == ""


def test_termination_ends_with_143_and_says_that_the_journal_is_whole() -> None:
    code = ("import os, signal, sys; from engine import cli, commands\n"
            "commands.COMMANDS['doc'] = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
            "sys.argv = ['mailmove', 'doc']; cli.run()")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 143
    assert "the journal is whole" in ended.stderr


def test_interruption_ends_with_130() -> None:
    code = ("import sys, signal; from engine import cli, commands\n"
            "def stop(*_): raise KeyboardInterrupt\n"
            "commands.COMMANDS['doc'] = stop\n"
            "sys.argv = ['mailmove', 'doc']; cli.run()")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 128 + signal.SIGINT


def test_init_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    out = io.StringIO()
    assert main(["init", str(tmp_path), "--type", "staged"], out, out, World()) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]


def test_two_new_folders_are_two_migrations(tmp_path: Path) -> None:
    for name in ("North GmbH", "south"):
        init(tmp_path / name, "cutover")
    assert "migration: north-gmbh " in (tmp_path / "North GmbH" / "inventory.yml").read_text()
    assert "migration: south " in (tmp_path / "south" / "inventory.yml").read_text()
