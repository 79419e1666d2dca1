"""Secret: a value that is named in the inventory and known only inside a client (G1, G4 of the safety notes).

Written `!secret source:name`, with one of the sources

    env:NAME          a variable of the environment
    keyring:SERVICE/USER   the system's key ring (the extra `mailmove[keyring]`)
    file:PATH         a file's text, without its last line end
    command:WORDS     what a command prints; only where MAILMOVE_SECRET_COMMANDS=allow is in the user's environment

The value leaves through `open` and nothing else, and `open` is called by a client at the moment of use
(`tests/language/test_secrets.py` names who may). What a look into the process's memory shows is out of scope.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from engine.connections.redaction import remember
from engine.contract import Denied
from engine.world import World

SOURCES = ("env", "keyring", "file", "command")


#: What a key is called whose value nobody else should read, and what such values look like wherever they stand.
_SECRET_KEY = re.compile(r"(^|[_-])(password|passwd|passphrase|pwd|secret|token|api_?key|private_?key|credentials?)$",
                         re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|^\$ANSIBLE_VAULT|^eyJ[\w-]+\.eyJ[\w-]+\."
    r"|://[^/\s:@]+:[^/\s:@]+@|^(Bearer|Basic) \S+$")


#: Variables that some inventory or playbook of this process names as a secret.
_variables: set[str] = set()


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: what our files name as a secret is for us only."""
    return {name: value for name, value in environment.items() if name not in _variables}


def written_out(key: str, value: str) -> bool:
    """Whether a value in a file looks like a secret itself, where the name of one should stand (G3)."""
    if "{{" in value or not value.strip():
        return False
    return bool(_SECRET_KEY.search(key) or _SECRET_VALUE.search(value))


class Opened(str):
    """A secret's value in a client's hands: a text for the library it is given to, its name for whoever looks.

    `repr` is what tracebacks with locals, debuggers and `pprint` show; pickle and copy refuse.
    """

    __slots__ = ("_name",)
    _name: str

    def __new__(cls, value: str, name: str) -> Opened:
        made = super().__new__(cls, value)
        made._name = name
        return made

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


class Secret:
    """Shows its name, never its value. No comparison, no copy to JSON or pickle, no length.

    A text that contains secrets is a secret too: `Secret.joined(["Basic ", secret])`.
    """

    __slots__ = ("_parts",)

    def __init__(self, source: str, name: str) -> None:
        """Raises ValueError for a source that is not one of SOURCES, or an empty name."""
        if source not in SOURCES or not name.strip():
            raise ValueError(f"a secret is written source:name, where source is one of {', '.join(SOURCES)}")
        self._parts: tuple[tuple[str, str] | str, ...] = ((source, name.strip()),)
        if source == "env":
            _variables.add(name.strip())

    @classmethod
    def named(cls, text: str) -> Secret:
        """From `source:name`. Raises ValueError, whose text does not repeat what was written."""
        source, _, name = text.partition(":")
        return cls(source.strip(), name)

    @classmethod
    def joined(cls, parts: Iterable[str | Secret]) -> Secret:
        """One secret of texts and secrets, in order."""
        whole = cls.__new__(cls)
        whole._parts = tuple(
            piece for part in parts for piece in (part._parts if isinstance(part, Secret) else (part,))
        )
        return whole

    def demand(self, world: World) -> None:
        """Reads every source and keeps nothing. Raises Denied when one does not give its value."""
        self.open(world)

    def open(self, world: World) -> Opened:
        """The value, read anew each time. Raises Denied when its source does not give it."""
        pieces = []
        for part in self._parts:
            if isinstance(part, str):
                pieces.append(part)
                continue
            value = _read(part[0], part[1], world)
            remember(value, f"secret {part[0]}:{part[1]}")
            pieces.append(value)
        return Opened("".join(pieces), repr(self))

    def __repr__(self) -> str:
        names = " ".join(f"{part[0]}:{part[1]}" for part in self._parts if not isinstance(part, str))
        return f"«secret {names}»"

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


def _read(source: str, name: str, world: World) -> str:
    where = f"secret {source}:{name}"
    if source == "env":
        if not world.environment.get(name):
            raise Denied(
                "secrets",
                f"{where}: the environment has no such variable, or it is empty",
                remedy=f"set {name} in the environment mailmove runs in",
            )
        return world.environment[name]
    if source == "file":
        try:
            value = Path(name).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise Denied(
                "secrets", f"{where}: {_words(error)}", remedy="see that the file is there, and UTF-8"
            ) from None
        return _filled(value.removesuffix("\n").removesuffix("\r"), where)
    if source == "keyring":
        service, _, user = name.rpartition("/")
        service = service or "mailmove"
        return _filled(_from_keyring(service, user, where), where, f"store it: keyring set {service} {user}")
    return _filled(_from_command(name, where, world), where)


def _from_keyring(service: str, user: str, where: str) -> str:
    try:
        import importlib

        keyring: Any = importlib.import_module("keyring")
    except ImportError:
        raise Denied(
            "secrets", f"{where}: the keyring library is not installed", remedy="pip install 'mailmove[keyring]'"
        ) from None
    try:
        return str(keyring.get_password(service, user) or "")
    except Exception as error:  # keyring's back-ends raise what they like; the class name is all that is safe to show
        kind = type(error).__name__
        raise Denied("secrets", f"{where}: {kind}", remedy=(
            "this machine has no key ring (keyring --list-backends): use env:, file: or command:"
            if kind == "NoKeyringError" else "unlock the key ring")) from None


def _from_command(name: str, where: str, world: World) -> str:
    # A folder somebody hands over must not be able to start programs: the permission lies outside of it.
    if world.environment.get("MAILMOVE_SECRET_COMMANDS") != "allow":
        raise Denied(
            "secrets",
            f"{where}: commands are not allowed as a source of secrets",
            remedy="set MAILMOVE_SECRET_COMMANDS=allow in your own environment, or use env:, file: or keyring:",
        )
    import shlex
    import subprocess

    try:
        done = subprocess.run(
            shlex.split(name), capture_output=True, timeout=60, check=True, text=True, stdin=subprocess.DEVNULL,
            env=without_secrets(world.environment)
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Denied("secrets", f"{where}: {_words(error)}", remedy="run the command by hand and see") from None
    return done.stdout.removesuffix("\n").removesuffix("\r")


def _filled(value: str, where: str, remedy: str = "") -> str:
    if not value:
        raise Denied("secrets", f"{where}: it is empty or not there", remedy=remedy)
    return value


def _words(error: Exception) -> str:
    """What went wrong, without output or content (a CalledProcessError carries the command's output)."""
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__
