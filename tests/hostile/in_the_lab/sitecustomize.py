"""Loaded by the lab's interpreter only (PYTHONPATH): every text the lab's services put into an answer is a hostile one.

The lab's own code, sockets and rules are as ever; each kind of text goes through the strings on its own, so that the
count of a kind says how many of them were served. `HOSTILE_SERVED` names the file for the counts.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web

import engine.lab.ews
import engine.lab.http
import engine.lab.ldap
import engine.lab.mail
from tests.hostile.strings import hostile

STRINGS = [text for text in hostile() if text and len(text) < 2_000]
#: What people and services write freely in an answer; the other values steer the migration.
FREE = {"message": "error messages", "Message": "batch messages", "displayName": "display names",
        "DisplayName": "display names", "ErrorSummary": "cmdlet errors", "Detail": "trace details"}
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
served: Counter[str] = Counter()


#: an answer's text is cut after some 1,000 characters: as many strings as fit are said at once
WORDS_MAX = 900


def text(kind: str) -> str:
    """The next strings for this kind, side by side."""
    said: list[str] = []
    while not said or sum(map(len, said)) + len(STRINGS[served[kind] % len(STRINGS)]) < WORDS_MAX:
        said.append(STRINGS[served[kind] % len(STRINGS)])
        served[kind] += 1
    Path(os.environ["HOSTILE_SERVED"]).write_text(json.dumps(served), encoding="utf-8")
    return " | ".join(said)


def worded(document: Any) -> Any:
    """The document with its free texts replaced, at every depth."""
    if isinstance(document, dict):
        return {name: text(FREE[name]) if name in FREE and isinstance(each, str) else worded(each)
                for name, each in document.items()}
    return [worded(each) for each in document] if isinstance(document, list) else document


def answer(status: int, document: Any = None, headers: Any = None) -> engine.lab.http.Response:
    if document is None:
        return engine.lab.http.Response(status, b"", headers or {})
    return engine.lab.http.Response(status, json.dumps(worded(document)).encode(),  # lone surrogates too, as \ud83d
                                    {"Content-Type": "application/json; charset=utf-8", **(headers or {})})


class Response(web.Response):
    """With a reason phrase that is no phrase; the library itself refuses line ends in one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        reason = re.sub("[\r\n\ud800-\udfff]", "", text("HTTP reasons"))
        super().__init__(*arguments, **{"reason": reason, **options})


plain_result = engine.lab.ldap._result


def result(number: int, tag: int, code: int, said: str = "", **options: Any) -> bytes:
    if code:
        said = f"{said}, {text('LDAP diagnostics')}".encode("utf-8", "replace").decode()
    return plain_result(number, tag, code, said, **options)


def escaped(said: str) -> str:
    return escape(NOT_IN_XML.sub("", text("SOAP texts")))


engine.lab.http.answer = answer
engine.lab.http.web = web  # type: ignore[attr-defined]
web.Response = Response  # type: ignore[misc]
engine.lab.ldap._result = result
engine.lab.ews.escape = escaped
