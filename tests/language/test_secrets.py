"""The type Secret shows nothing, its value leaves by one door, and only clients use that door."""

from __future__ import annotations

import ast
import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.connections.pwsh import Credential
from engine.connections.redaction import redacted
from engine.connections.secrets import Opened, Secret
from engine.contract import Denied
from engine.world import World

ENGINE = Path(__file__).parents[2] / "engine"
VALUE = "hunter22&canary"
WORLD = World(environment={"TOKEN": VALUE})


@dataclasses.dataclass
class Holder:
    secret: Secret


def logged(value: object) -> str:
    stream = io.StringIO()
    logger = logging.Logger("mailmove.test")
    logger.addHandler(logging.StreamHandler(stream))
    logger.error("%s %r", value, value)
    return stream.getvalue()


def with_locals(value: object) -> str:
    """What a crash report with the variables of every frame shows."""
    def use(secret: object) -> None:
        text = [secret, {"password": secret}]
        raise RuntimeError(f"{len(text)} things went wrong")

    try:
        use(value)
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    raise AssertionError


SHOWN: dict[str, Callable[[Secret], str]] = {
    "str": str, "repr": repr, "format": lambda secret: f"{secret:>80}",
    "f-string": lambda secret: f"{secret!r}{secret}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - this is one of the ways
    "pprint": pprint.pformat, "in a list": lambda secret: repr([secret, (secret,), {"a": secret}]),
    "in a dataclass": lambda secret: repr(Holder(secret)), "a credential": lambda secret: repr(Credential("u", secret)),
    "slots": lambda secret: repr([getattr(secret, name) for name in Secret.__slots__]),
    "dir": lambda secret: repr([getattr(secret, name) for name in dir(secret) if not name.startswith("__")]),
    "class": lambda secret: repr(vars(type(secret))),
    "json of its text": lambda secret: json.dumps(secret, default=str),
    "log": logged, "traceback with locals": with_locals,
}
REFUSED: dict[str, Callable[[Secret], object]] = {
    "json": json.dumps, "pickle": pickle.dumps, "copy": copy.copy, "deepcopy": copy.deepcopy,
    "asdict": lambda secret: dataclasses.asdict(Holder(secret)), "len": len,  # type: ignore[arg-type, dict-item]
    "vars": vars, "order": lambda secret: secret < secret, "iterate": list,  # type: ignore[operator, call-overload, dict-item]
    "add": lambda secret: "a" + secret, "bytes": bytes,  # type: ignore[operator, dict-item]
}


@pytest.mark.parametrize("way", SHOWN)
def test_a_secret_shows_its_name_and_nothing_else(way: str) -> None:
    secret = Secret.named("env:TOKEN")
    assert secret.open(WORLD) == VALUE  # opened before: nothing of it stays in the object
    for each in (secret, Secret.joined(["Bearer ", secret])):
        assert VALUE not in SHOWN[way](each) and "hunter" not in SHOWN[way](each)


@pytest.mark.parametrize("way", REFUSED)
def test_a_secret_is_not_written_measured_or_compared(way: str) -> None:
    with pytest.raises(TypeError) as caught:
        REFUSED[way](Secret.named("env:TOKEN"))
    assert VALUE not in str(caught.value)


def test_equal_names_are_not_equal_secrets_and_a_hash_tells_nothing() -> None:
    one, other = Secret.named("env:TOKEN"), Secret.named("env:TOKEN")
    assert one != other and one == one and len({one, other}) == 2


def test_an_opened_value_is_a_text_for_a_library_and_a_name_for_whoever_looks() -> None:
    opened = Secret.joined(["Bearer ", Secret.named("env:TOKEN")]).open(WORLD)
    assert opened == f"Bearer {VALUE}" and isinstance(opened, Opened) and opened.encode() == f"Bearer {VALUE}".encode()
    assert repr(opened) == "«secret env:TOKEN»"
    assert VALUE not in with_locals(opened) and VALUE not in pprint.pformat({"password": opened})
    for writing in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            writing(opened)


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("abcd\n")
    assert Secret.named(f"file:{tmp_path / 's'}").open(World(environment={})) == "abcd"
    allowed = World(environment={"MAILMOVE_SECRET_COMMANDS": "allow"})
    assert Secret.named("command:printf wxyz").open(allowed) == "wxyz"
    for name in ("command:printf wxyz", "env:NOTHING", f"file:{tmp_path / 'none'}", "keyring:mailmove/none"):
        with pytest.raises(Denied):
            Secret.named(name).open(World(environment={}))
        with pytest.raises(Denied):
            Secret.named(name).demand(World(environment={}))
    with pytest.raises(Denied) as caught:
        Secret.named("command:false").open(allowed)
    assert "CalledProcessError" in caught.value.text


@pytest.mark.parametrize(("backend", "name", "says", "remedy"), [
    ("keyrings.alt.file.PlaintextKeyring", "contoso/migadmin", "", ""),
    ("keyrings.alt.file.PlaintextKeyring", "alone", "", ""),
    ("keyrings.alt.file.PlaintextKeyring", "contoso/nobody", "not there", "store it: keyring set contoso nobody"),
    ("keyring.backends.null.Keyring", "contoso/migadmin", "not there", "keyring set contoso migadmin"),
    ("keyring.backends.fail.Keyring", "contoso/migadmin", "NoKeyringError", "use env:, file: or command:"),
])
def test_the_key_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, name: str, says: str,
                      remedy: str) -> None:
    """The real library with real back-ends: a file, one that forgets, and none."""
    import keyring

    before = keyring.get_keyring()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    try:
        keyring.set_keyring(keyring.core.load_keyring(backend))
        if "alt" in backend:
            keyring.set_password("contoso", "migadmin", VALUE)
            keyring.set_password("mailmove", "alone", VALUE)
        secret = Secret.named(f"keyring:{name}")
        if not says:
            assert secret.open(World(environment={})) == VALUE
            return
        with pytest.raises(Denied, match=says) as caught:
            secret.open(World(environment={}))
        assert remedy in caught.value.remedy
    finally:
        keyring.set_keyring(before)


def test_a_program_that_gives_a_secret_is_not_given_the_others(tmp_path: Path) -> None:
    Secret.named("env:APP_SECRET")  # named somewhere in the inventory
    world = World(environment={"MAILMOVE_SECRET_COMMANDS": "allow", "APP_SECRET": VALUE, "VAULT_ADDR": "https://vault",
                               "PATH": "/usr/bin:/bin"})
    said = Secret.named("command:env").open(world)
    assert "VAULT_ADDR=https://vault" in said and "APP_SECRET" not in said and VALUE not in said


def test_a_command_that_fails_is_not_quoted(tmp_path: Path) -> None:
    script = tmp_path / "vault"
    script.write_text(f"#!/bin/sh\necho {VALUE}\necho {VALUE} >&2\nexit 3\n")
    script.chmod(0o700)
    with pytest.raises(Denied) as caught:
        Secret.named(f"command:{script}").open(World(environment={"MAILMOVE_SECRET_COMMANDS": "allow"}))
    assert VALUE not in str(caught.value) and caught.value.__context__ is not None
    assert "".join(traceback.format_exception(caught.value)).count(VALUE) == 0


@pytest.mark.parametrize("text", ["hunter22", "vault:x", "env:", ""])
def test_what_is_no_name_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Secret.named(text)
    assert not text or text not in str(caught.value)


# ------------------------------------------------------------------------------------------- who opens


def opens(tree: ast.AST) -> list[int]:
    """Lines that take a value out of a secret: `….open(world)`, `opened(…)`, or the sources behind them."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = ast.unparse(node.args[0]) if node.args else ""
            if name == "opened" or (name == "open" and first.rpartition(".")[2] in ("world", "_world")):
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module in ("engine.connections.endpoint",
                                                                  "engine.connections.secrets"):
            found += [node.lineno for alias in node.names if alias.name in ("opened", "Opened", "_read")]
    return found


def test_a_secret_is_opened_inside_a_connection_and_nowhere_else() -> None:
    doors = {path.relative_to(ENGINE).as_posix(): lines for path in ENGINE.rglob("*.py")
             if (lines := opens(ast.parse(path.read_text(encoding="utf-8"))))}
    assert {each.split("/")[0] for each in doors} == {"connections"}, doors
    assert {each.removeprefix("connections/").removesuffix(".py") for each in doors} == {
        "autodiscover", "secrets", "endpoint", "http", "tokens", "directory_line", "dns_provider", "dns_update", "ews",
        "password_mark", "pwsh", "smtp", "source_shell", "webhook"}, "a client that opens secrets is named here"


@pytest.mark.parametrize("text", ["secret.open(self._site.world)", "opened(setting, world)",
                                  "value.open(migration.world)", "from engine.connections.endpoint import opened"])
def test_the_rule_sees_what_it_forbids(text: str) -> None:
    assert opens(ast.parse(text))


# -------------------------------------------------------------------------------------- the whole process


def test_a_bug_keeps_its_traceback_without_the_secret_in_it(tmp_path: Path) -> None:
    """A library's exception that quotes what it was given, on the way through the console entry point."""
    program = tmp_path / "broken.py"
    program.write_text(f"""
import sys
import engine.commands
from engine.connections.secrets import Secret
from engine.world import World

def broken(argv, screen, world):
    value = Secret.named("env:TOKEN").open(World(environment={{"TOKEN": {VALUE!r}}}))
    try:
        int(f"user:{{value}}")
    except ValueError as error:
        raise RuntimeError("the library\\x1b[31m said: " + str(error)) from error

engine.commands.command = broken
sys.argv = ["mailmove", "plan"]
from engine.cli import run
run()
""")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=ENGINE.parent,
                          env={"PYTHONPATH": str(ENGINE.parent)})
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr and "RuntimeError: the library" in done.stderr
    assert VALUE not in done.stderr and "«secret env:TOKEN»" in done.stderr
    assert "\x1b" not in done.stderr


def test_logs_and_warnings_of_libraries_are_not_printed_and_no_core_is_left(tmp_path: Path) -> None:
    program = tmp_path / "chatty.py"
    program.write_text("""
import logging, resource, sys, threading, warnings
import engine.commands

def chatty(argv, screen, world):
    logging.getLogger("urllib3").critical("a request with its headers")
    warnings.warn("a warning of a library")
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start(); thread.join()
    screen.line(str(resource.getrlimit(resource.RLIMIT_CORE)[0]))
    return 0

engine.commands.command = chatty
sys.argv = ["mailmove", "plan"]
from engine.cli import run
run()
""")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=ENGINE.parent,
                          env={"PYTHONPATH": str(ENGINE.parent)})
    assert (done.returncode, done.stdout) == (0, "0\n")
    assert "ZeroDivisionError" in done.stderr and "headers" not in done.stderr and "warning of" not in done.stderr


def test_the_modes_of_what_holds_passwords(tmp_path: Path) -> None:
    """A list with passwords that mailmove writes is its owner's, whatever the umask, and says how it is destroyed."""
    from engine.cli import main

    (tmp_path / "in.csv").write_text("EmailAddress,Password\nanna@contoso.com,Canary-Pass-1\n")
    out = io.StringIO()
    code = main(["inventory", "convert", str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.csv")], out, out,
                World(environment={"USER": "maria"}))
    assert code == 0, out.getvalue()
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600
    assert "shred -u" in out.getvalue() and "Canary-Pass-1" not in out.getvalue()
    assert "Canary-Pass-1" not in redacted("the service says: Canary-Pass-1 is too short")
