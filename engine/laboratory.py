"""The lab as another process: started, spoken to on its control port, stopped. Nothing of it is imported.

Control paths and the line it prints when it listens: docs/design.md, "The lab".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from engine.connections.secrets import without_secrets

#: Loopback is never reached through a proxy, whatever the environment says.
_open = build_opener(ProxyHandler({})).open
ANSWER_SECONDS_MAX = 120


class LabFailed(Exception):
    """The lab ended or answered with an error: a bug in it or a machine that cannot run it."""


def python(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a child finds this very package, from a wheel or a checkout, and modules of others.

    A rehearsal has secrets of its own: the user's are not handed on.
    """
    paths = [str(Path(__file__).resolve().parent.parent), *filter(None, [environment.get("PYTHONPATH")])]
    return {**without_secrets(environment), "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


class Running(Protocol):
    """A child process, as subprocess.Popen has it. `stdout`: to be read, where it was asked for."""

    pid: int

    @property
    def stdout(self) -> IO[bytes] | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Start(Protocol):
    """Starts `python -m WORDS`. stdout None: it is to be read; stderr None: it goes where stdout goes."""

    def __call__(self, words: Sequence[str], stdout: IO[bytes] | None, stderr: IO[bytes] | None,
                 environment: Mapping[str, str]) -> Running: ...


def process(words: Sequence[str], stdout: IO[bytes] | None, stderr: IO[bytes] | None,
            environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A fresh interpreter: a Start."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", *words], stdin=subprocess.DEVNULL, stdout=stdout or subprocess.PIPE,
        stderr=stderr or subprocess.STDOUT, env=python(environment))


class Lab:
    """One running lab. A context manager: leaving it stops the process."""

    def __init__(self, folder: Path, organisation: Mapping[str, Any], *, seed: int, faults: str,
                 environment: Mapping[str, str], start: Start = process) -> None:
        """Starts it and waits until it listens. Raises LabFailed with what it said when it does not."""
        self.folder = folder
        description = folder / "organisation.json"
        description.write_text(json.dumps(organisation), encoding="utf-8")
        self._errors: IO[bytes] = (folder / "lab.log").open("wb")
        self.process = start(
            ["engine.lab", "--organisation", str(description), "--folder", str(folder), "--seed", str(seed), "--gated",
             "--faults", faults], None, self._errors, environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise LabFailed(self.log())
        self.ready: Mapping[str, Any] = json.loads(line)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def get(self, path: str) -> Any:
        return self._ask(Request(self.ready["control"] + path))

    def post(self, path: str, **body: Any) -> Any:
        return self._ask(Request(self.ready["control"] + path, json.dumps(body).encode(),
                                 {"Content-Type": "application/json"}))

    def _ask(self, request: Request) -> Any:
        try:
            with _open(request, timeout=ANSWER_SECONDS_MAX) as answer:
                body = answer.read()
        except HTTPError as error:
            raise LabFailed(f"{request.selector}: {error.code} {error.read(2000).decode(errors='replace')}") from None
        except OSError as error:
            raise LabFailed(f"{request.selector}: {error}\n{self.log()}") from None
        return json.loads(body) if body else None

    def log(self) -> str:
        """The end of what the lab wrote to its standard error."""
        return (self.folder / "lab.log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()


class Workplace:
    """The desk of the rehearsal's person: the source's shell, and the web page of the DNS host."""

    def __init__(self, lab: Lab, account: Mapping[str, Any]) -> None:
        self.lab = lab
        self.account = account

    def type_powershell(self, script: str) -> str:
        answer = self.lab.post("/desk", script=script, user=self.account.get("user", ""),
                               password=self.account.get("password", ""))
        return json.dumps(answer)

    def enter_records(self, text: str, connection: str = "dns") -> str:
        """Takes away and adds the values the text names, as at the DNS host's page, by signed updates (RFC 2136)."""
        import dns.exception
        import dns.name
        import dns.query
        import dns.rdatatype
        import dns.tsig
        import dns.update

        settings = self.lab.ready["connections"][connection]["update"]
        gone: list[tuple[str, str, str]] = []
        added: list[tuple[str, int, str, str]] = []
        for line in text.splitlines():
            words = line.removeprefix("; remove: ").split(None, 4 - line.startswith("; remove: "))
            if line.startswith("; remove: ") and len(words) == 4:
                gone.append((words[0], words[2], words[3]))
            elif len(words) == 5 and words[1].isdigit() and words[2].upper() == "IN":
                added.append((words[0], int(words[1]), words[3].upper(), words[4]))
        host, _, port = str(settings["server"]).rpartition(":")
        key = {dns.name.from_text(settings["key_name"]): dns.tsig.Key(
            settings["key_name"], settings["secret"], settings.get("algorithm", "hmac-sha256"))}
        owners = [*(each[0] for each in gone), *(each[0] for each in added)]
        for zone in dict.fromkeys(map(self._zone, owners)):
            update = dns.update.UpdateMessage(zone, keyring=key)
            for owner, kind, value in gone:
                if self._zone(owner) == zone:
                    update.delete(owner, kind, value)
            for owner, ttl, kind, value in added:
                if self._zone(owner) == zone:
                    update.add(owner, ttl, kind, value)
            try:
                dns.query.tcp(update, host, timeout=10, port=int(port))
            except (dns.exception.DNSException, OSError, EOFError):  # a fault: it is filled in again later
                return "the page did not answer"
        return f"{len(gone)} values away, {len(added)} added"

    def _zone(self, owner: str) -> str:
        zones: Sequence[str] = list(self.lab.ready["connections"]["dns"]["servers"])
        return max((zone for zone in zones if f".{owner.rstrip('.')}".endswith(f".{zone}")), key=len)
