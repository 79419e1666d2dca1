"""Stands in for PowerShell running exchange_online.ps1: a program of its own that speaks the same protocol.

    pwsh_stand_in.py FOLDER [the words PowerShell would get …]

FOLDER/behaviour.json says how: {"start": WORD, "calls": [WORD or answer, …]}, one for each call after the sign-in; an
answer is {"objects": …} or {"error": …}. With {"desk": URL} cmdlets are run by a lab. Everything heard is appended to
FOLDER/heard.jsonl, each start's arguments to FOLDER/started.jsonl.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen


def say(answer: Any) -> None:
    sys.stdout.write((answer if isinstance(answer, str) else json.dumps(answer)) + "\n")
    sys.stdout.flush()


def flood() -> None:
    while True:
        sys.stdout.write("A module that has much to say.\n" * 100)
        sys.stdout.flush()


def misbehave(word: str, number: int) -> None:
    """What may go wrong with a child, each by its name."""
    if word == "die":
        sys.stderr.write("Unhandled exception. System.OutOfMemoryException\n")
        sys.exit(134)
    elif word == "hang":
        time.sleep(3600)
    elif word == "flood":
        flood()
    elif word == "one long line":
        while True:
            sys.stdout.write("x" * 65536)
    elif word == "rubbish":
        for line in ("WARNING: a banner", "{not json", "[1, 2]", '"text"', "\x1b[31mred\x1b[0m", '{"id": 999}'):
            say(line)
        say({"id": number, "objects": [{"Identity": "after the rubbish"}]})
    elif word == "out of order":
        say({"id": number - 1, "objects": [{"Identity": "of an earlier call"}]})
        say({"id": number + 1, "objects": [{"Identity": "of a call not made yet"}]})
        say({"id": number, "objects": [{"Identity": "mine"}]})


def at_the_desk(address: str, request: dict[str, Any]) -> dict[str, Any]:
    """The lab's shell runs the cmdlet, as the real module would with the tenant."""
    words = [request["cmdlet"]]
    for name, value in request["parameters"].items():
        shown = f"${str(value).lower()}" if isinstance(value, bool) else "'" + str(value).replace("'", "''") + "'"
        words.append(f"-{name}:{shown}" if isinstance(value, bool) else f"-{name} {shown}")
    (name, given), = request["credentials"].items()
    words.append(f"-{name} (Get-Credential)")
    body = json.dumps({"script": " ".join(words), "user": given["user"], "password": given["password"]}).encode()
    with urlopen(Request(address, data=body)) as answer:
        said = json.loads(answer.read())
    if said["errors"]:
        return {"error": {"class": "System.Exception", "message": said["errors"][0]}}
    return {"objects": said["objects"], "warnings": []}


def main(folder: Path) -> None:
    behaviour = json.loads((folder / "behaviour.json").read_text())
    with (folder / "started.jsonl").open("a") as file:
        file.write(json.dumps({"arguments": sys.argv[2:], "environment": dict(os.environ), "pid": os.getpid()}) + "\n")
    if behaviour.get("start"):
        misbehave(behaviour["start"], 0)
    say(behaviour.get("ready") or {"ready": {"protocol": 1, "powershell": "7.4.6", "module": "3.9.0"}})
    for line in sys.stdin:
        with (folder / "heard.jsonl").open("a") as file:
            file.write(line)
        request = json.loads(line)
        if "connect" in request:
            say({"id": request["id"], **(behaviour.get("connect") or {"objects": [], "warnings": []})})
            continue
        if "desk" in behaviour:
            say({"id": request["id"], **at_the_desk(behaviour["desk"], request)})
            continue
        calls = json.loads((folder / "behaviour.json").read_text())["calls"]
        made = sum("connect" not in json.loads(each) for each in (folder / "heard.jsonl").read_text().splitlines())
        answer = calls[min(made, len(calls)) - 1]
        if isinstance(answer, str):
            misbehave(answer, request["id"])
        else:
            say({"id": request["id"], **answer})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
