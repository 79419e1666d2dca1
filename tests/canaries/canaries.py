"""Canaries: secrets that only look for themselves, and the search for them in bytes, in every encoding they may wear.

The encodings are written down here a second time, apart from those of the product and of the lab: a rig that shares
its code with what it tests finds what that finds.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

Encoding = Callable[[str], bytes]


def _base64(data: bytes, shift: int, alphabet: str = "+/") -> bytes:
    """What stands in a base64 text for `data` wherever it begins, without the signs that its neighbours decide."""
    whole = base64.b64encode(b"\0" * shift + data, alphabet.encode())
    return whole[(0, 2, 3)[shift]:(shift + len(data)) * 8 // 6]


ENCODINGS: Mapping[str, Encoding] = {
    "plain": str.encode,
    "upper": lambda text: text.upper().encode(),
    "lower": lambda text: text.lower().encode(),
    "URL": lambda text: quote(text, safe="").encode(),
    "URL, lower": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")).encode(),
    "form": lambda text: quote_plus(text).encode(),
    "base64": lambda text: _base64(text.encode(), 0),
    "base64, one on": lambda text: _base64(text.encode(), 1),
    "base64, two on": lambda text: _base64(text.encode(), 2),
    "base64url": lambda text: _base64(text.encode(), 0, "-_"),
    "base64url, one on": lambda text: _base64(text.encode(), 1, "-_"),
    "base64url, two on": lambda text: _base64(text.encode(), 2, "-_"),
    "base64 of UTF-16": lambda text: _base64(text.encode("utf-16-le"), 0),
    "base64 of UTF-16, one on": lambda text: _base64(text.encode("utf-16-le"), 1),
    "base64 of UTF-16, two on": lambda text: _base64(text.encode("utf-16-le"), 2),
    "hex": lambda text: text.encode().hex().encode(),
    "hex, upper": lambda text: text.encode().hex().upper().encode(),
    "hex in pairs": lambda text: text.encode().hex(" ").encode(),
    "byte list": lambda text: ",".join(map(str, text.encode())).encode(),
    "JSON": lambda text: json.dumps(text)[1:-1].encode(),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1].encode(),
    "JSON, slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/").encode(),
    "JSON escapes": lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text).encode(),
    "HTML": lambda text: html.escape(text).encode(),
    "HTML, quotes kept": lambda text: html.escape(text, quote=False).encode(),
    "HTML of Jinja": lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;").encode(),
    "HTML numbers": lambda text: "".join(f"&#{ord(sign)};" for sign in text).encode(),
    "UTF-16LE": lambda text: text.encode("utf-16-le"),
    "UTF-16BE": lambda text: text.encode("utf-16-be"),
    "UTF-16, shown": lambda text: "\\x00".join(text).encode(),
    "quoted-printable": lambda text: "".join(
        f"={ord(sign):02X}" if sign == "=" or not " " <= sign <= "~" else sign for sign in text).encode(),
    "reversed": lambda text: text[::-1].encode(),
    "CSV": lambda text: text.replace('"', '""').encode(),
    "PowerShell": lambda text: text.replace("'", "''").encode(),
    "Python": lambda text: repr(text)[1:-1].encode(),
}
#: What stands inside of another encoding: a list's cell in a list of bytes, a form's field in base64, …
INSIDE = ("plain", "CSV", "JSON", "form", "Python")
#: A shorter needle would be found by chance.
NEEDLE_MIN = 8


@dataclass(frozen=True)
class Canary:
    """One secret. `home`: what lies below these folders or files is its rightful place."""

    kind: str
    value: str
    needles: Mapping[bytes, str] = field(init=False, compare=False, hash=False, repr=False)

    def __post_init__(self) -> None:
        needles: dict[bytes, str] = {}
        # Of a key every line is a secret, of a text with line ends none is whole anywhere.
        for line in [line for line in self.value.splitlines() if not line.startswith("-----")]:
            for inside in INSIDE:
                text = ENCODINGS[inside](line).decode()
                for name, encode in ENCODINGS.items():
                    found = b"".join(encode(text).split())
                    if len(found) >= NEEDLE_MIN:
                        needles.setdefault(found, name if inside == "plain" else f"{name} of {inside}")
        object.__setattr__(self, "needles", needles)


@dataclass(frozen=True)
class Hit:
    """A secret where none may be."""

    kind: str
    encoding: str
    where: str
    around: str

    def __str__(self) -> str:
        return f"{self.kind} as {self.encoding} in {self.where}: {self.around}"


def draw(kind: str) -> str:
    """A secret of this kind: a text that occurs nowhere else, with every sign that an encoding writes otherwise."""
    digest = hashlib.sha256(f"canary {kind}".encode()).hexdigest()
    return f"Cq{digest[:10]}\"&<{digest[10:16]}>'+/=%{digest[16:22]}Zk"


def search(data: bytes, where: str, canaries: Iterable[Canary]) -> Iterator[Hit]:
    """Every canary in some bytes; however lines were folded or cells were padded, white space does not count."""
    bare = b"".join(data.split())
    for canary in canaries:
        for needle, encoding in canary.needles.items():
            place = bare.find(needle)
            if place >= 0:
                yield Hit(canary.kind, encoding, where, repr(bare[max(0, place - 60):place + 20]))
                break
