"""Refusals that repeat the request, as misconfigured gateways, debug pages and chatty servers do, in many spellings."""

from __future__ import annotations

import base64
import html
import json
import quopri
from collections.abc import Callable, Mapping
from urllib.parse import quote

#: How a repeated request may be written.
FORMS: Mapping[str, Callable[[bytes], str]] = {
    "plain": lambda raw: raw.decode("utf-8", "replace"),
    "upper": lambda raw: raw.decode("utf-8", "replace").upper(),
    "lower": lambda raw: raw.decode("utf-8", "replace").lower(),
    "url": lambda raw: quote(raw, safe=""),
    "url of all": lambda raw: "".join(f"%{each:02X}" for each in raw),
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64, one on": lambda raw: base64.b64encode(b"." + raw).decode(),
    "base64, two on": lambda raw: base64.b64encode(b".." + raw).decode(),
    "base64url": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "base64 in lines": lambda raw: base64.encodebytes(raw).decode(),
    "base64 of UTF-16": lambda raw: base64.b64encode(raw.decode("utf-8", "replace").encode("utf-16-le")).decode(),
    "hex": lambda raw: raw.hex(),
    "hex in pairs": lambda raw: raw.hex(" ").upper(),
    "byte list": lambda raw: ",".join(map(str, raw)),
    "JSON": lambda raw: json.dumps(raw.decode("utf-8", "replace")),
    "JSON in JSON": lambda raw: json.dumps(json.dumps(raw.decode("utf-8", "replace"))),
    "JSON escapes": lambda raw: "".join(f"\\u{ord(sign):04x}" for sign in raw.decode("utf-8", "replace")),
    "HTML": lambda raw: html.escape(raw.decode("utf-8", "replace")),
    "HTML numbers": lambda raw: "".join(f"&#{ord(sign)};" for sign in raw.decode("utf-8", "replace")),
    "UTF-16LE": lambda raw: raw.decode("utf-8", "replace").encode("utf-16-le").decode("latin-1"),
    "UTF-16BE": lambda raw: raw.decode("utf-8", "replace").encode("utf-16-be").decode("latin-1"),
    "quoted-printable": lambda raw: quopri.encodestring(raw).decode("ascii", "replace"),
    "reversed": lambda raw: raw.decode("utf-8", "replace")[::-1],
    "CSV": lambda raw: '"' + raw.decode("utf-8", "replace").replace('"', '""') + '"',
}
