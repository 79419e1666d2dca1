"""What servers, libraries and tracebacks say, cleared of every secret this process knows (G4 of the safety notes).

A server that repeats a request rarely repeats it as it was sent: it is escaped for JSON, HTML or a URL, folded for
mail, shown as hex or base64, wide (UTF-16), or several of these. So a secret is looked for sign by sign, each sign in
any of its spellings, and whatever looks like base64, hex or a list of bytes is looked into. What cannot be cut out
cleanly is withheld as a whole. Not found: a part of a secret that is shorter than 64 characters, and compressed text.
"""

from __future__ import annotations

import base64
import binascii
import html
import quopri
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote, unquote_plus, urlsplit

#: A shorter value would blot out innocent text, and protects nothing.
LENGTH_MIN = 4
#: Longer values are looked for in pieces, so that one that is cut off is found as well.
PIECE = 64
#: Access tokens end; so many of the latest are remembered.
PASSING_MAX = 32
#: Encodings inside encodings inside encodings.
DEPTH_MAX = 3
#: So many letters and digits tell whether a value may be there.
HEAD = 3
#: No error is read further than this.
LENGTH_MAX = 16_384
WITHHELD = "«an answer that holds {}: not shown»"

#: What stands between two signs of wide text, or where a line was folded.
_BETWEEN = re.compile(r"\x00|\\u0000|\\x00|\\0|=00|%00|=?\r?\n[ \t]?")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]|%2[BFbf]|\\/|(?<=[A-Za-z0-9+/_-])=?\r?\n(?=[A-Za-z0-9+/_-])){12,}"
                     r"(?:=|%3D){0,2}")
_HEX = re.compile(r"(?:(?:0x|\\x|%|=)?[0-9A-Fa-f]{2}(?:, ?|[ :.-]|\r?\n)?){6,}")
_BYTES = re.compile(r"\d{1,3}(?:, ?|\s)(?:\d{1,3}(?:, ?|\s)){4,}\d{1,3}")
#: Continues a long value whose first piece was found.
_REST = r"[\w.~+/=-]*"


#: Tokens are known by their looks as well: one that a library made may never have passed our hands.
_TOKEN = re.compile(r"eyJ[\w-]{8,}(\.[\w-]+)*|(?i:bearer)\s+[\w.~+/=-]{8,}")


@dataclass(frozen=True)
class _Known:
    value: str
    name: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Made when the first text is cleared: most runs never need it."""
        if not self.value:
            return _TOKEN
        rest = _REST if len(self.value) > PIECE else ""
        return re.compile("|".join("".join(map(_spellings, piece)) + rest for piece in _pieces(self.value)),
                          re.IGNORECASE)


    @cached_property
    def heads(self) -> frozenset[str]:
        """The first signs of what is always spelled out in each piece; without one of them the value is not there."""
        if not self.value:
            return frozenset({"eyj", "bea"})
        return frozenset(max(re.findall(r"[a-z0-9]*", piece.lower()), key=len)[:HEAD] for piece in _pieces(self.value))


@dataclass(frozen=True)
class _Look:
    """One text being cleared, and all that is found inside of it. A list of 2,000 passwords costs it milliseconds."""

    known: tuple[_Known, ...]
    #: texts that hold nothing, and how deep inside of others they were looked at: encodings come back to the same ones
    clean: dict[str, int] = field(default_factory=dict)

    @cached_property
    def heads(self) -> frozenset[str]:
        return frozenset().union(*(each.heads for each in self.known))

    def candidates(self, text: str) -> tuple[_Known, ...]:
        """What the text may hold."""
        low = text.lower()
        parts = {low[start:start + HEAD] for start in range(len(low) - HEAD + 1)}
        if parts.isdisjoint(self.heads) and min(map(len, self.heads)) == HEAD:
            return ()
        return tuple(each for each in self.known
                     if not parts.isdisjoint(each.heads) or any(len(head) < HEAD for head in each.heads))


_lasting: dict[str, _Known] = {}
_passing: deque[_Known] = deque(maxlen=PASSING_MAX)
_ANY_TOKEN = _Known("", "«token»")


def remember(value: str, name: str, *, passing: bool = False) -> None:
    """From now on `value` is shown as «name». `passing`: a token, which another will follow."""
    if len(value) < LENGTH_MIN:
        return
    if passing:
        if all(known.value != value for known in tuple(_passing)):
            _passing.append(_Known(value, f"«{name}»"))
        return
    if value not in _lasting:
        _lasting[value] = _Known(value, f"«{name}»")
        if "://" in value and (password := _password_in(value)):
            remember(password, name)


def redacted(text: str, length_max: int = LENGTH_MAX) -> str:
    """The text with every known secret replaced by its name, in whatever encoding it stands there.

    Cut to be shown only afterwards: half a secret is not recognised. Of a text longer than `length_max` the rest is
    dropped, and with it what may be half a secret at the cut.
    """
    values = sorted((*tuple(_lasting.values()), *tuple(_passing)), key=lambda each: len(each.value), reverse=True)
    look = _Look((*values, _ANY_TOKEN))
    cleared = _cleared(text[:length_max], look, 0)
    return cleared if len(text) <= length_max else cleared[:-2 * PIECE] + " …"


def _cleared(text: str, look: _Look, depth: int) -> str:
    if look.clean.get(text, DEPTH_MAX + 1) <= depth:
        return text
    before = text
    for each in look.candidates(text):
        text = each.pattern.sub(lambda _, name=each.name: name, text)  # type: ignore[misc]
    if depth == DEPTH_MAX:
        return text
    for shape, read in ((_BASE64, _from_base64), (_HEX, _from_hex), (_BYTES, _from_bytes)):
        text = shape.sub(lambda found, read=read: _looked_into(found[0], read, look, depth), text)  # type: ignore[misc]
    for whole in (unquote, unquote_plus, html.unescape, _from_mail, _from_escapes, _from_wide, _from_behind):
        other = whole(text)
        if other != text and (name := _held(other, look, depth + 1)):
            return WITHHELD.format(name)
    if text == before:
        look.clean[text] = min(depth, look.clean.get(text, depth))
    return text


def _looked_into(found: str, read: Callable[[str], Iterator[str]], look: _Look, depth: int) -> str:
    return next((name for inside in read(found) if (name := _held(inside, look, depth + 1))), found)


def _held(text: str, look: _Look, depth: int) -> str:
    """The name of a secret that the text holds; "" for none."""
    cleared = _cleared(text, look, depth)
    return "" if cleared == text else next((each.name for each in look.known if each.name in cleared), "a secret")


def _pieces(value: str) -> Iterator[str]:
    """A value's lines and, where they are long, their parts; marks like BEGIN PRIVATE KEY are no secret."""
    lines = [line.strip() for line in value.splitlines() if not line.startswith("-----")] or [value]
    for line in lines:
        if len(lines) > 1 and len(line) < 16:
            continue  # the last line of a key, a blank one: nothing to know somebody by
        for start in range(0, len(line), PIECE):
            piece = line[start:start + PIECE]
            if start == 0 or len(piece) >= 16:
                yield piece


def _spellings(sign: str) -> str:
    """One character in the ways it is usually written down, as part of a pattern that ignores case.

    Letters and digits are left alone by every usual encoding; a text that escapes even those is unescaped as a whole.
    """
    if sign.isascii() and sign.isalnum():
        return sign
    raw, number = sign.encode("utf-8", "surrogatepass"), ord(sign)
    # \" JSON, "" CSV, `" PowerShell
    ways = [rf"\\{re.escape(sign)}", re.escape(sign) * 2, f"`{re.escape(sign)}", re.escape(sign),
            "".join(f"%{each:02x}" for each in raw), "".join(f"={each:02x}" for each in raw),
            f"&#0*{number};", f"&#x0*{number:x};", re.escape(html.escape(sign))]
    if number < 0x10000:
        ways.append(rf"\\u{number:04x}")
    if number < 0x100:
        ways.append(rf"\\x{number:02x}")
    if sign in "' ":
        ways.append("&apos;" if sign == "'" else r"\+")
    return f"(?:{'|'.join(dict.fromkeys(ways))})"


def _from_base64(found: str) -> Iterator[str]:
    """What a run of base64 says, wherever in it the text begins."""
    plain = re.sub(r"=?\r?\n", "", unquote(found)).replace("\\/", "/").translate(_STANDARD).rstrip("=")
    for start in range(4):
        cut = plain[start:]
        cut = cut[:len(cut) - (len(cut) % 4 == 1)]
        yield from _texts(base64.b64decode(cut + "=" * (-len(cut) % 4)))


def _from_hex(found: str) -> Iterator[str]:
    digits = re.sub(r"0x|[^0-9A-Fa-f]", "", found)
    for start in (0, 1):
        cut = digits[start:]
        yield from _texts(binascii.unhexlify(cut[:len(cut) // 2 * 2]))


def _from_bytes(found: str) -> Iterator[str]:
    yield from _texts(bytes(number for number in map(int, re.findall(r"\d+", found)) if number < 256))


def _texts(raw: bytes) -> Iterator[str]:
    yield raw.decode("latin-1")  # every sign at its place, wide text as signs with NULs between
    if not raw.isascii():
        yield raw.decode("utf-8", "replace")


def _from_mail(text: str) -> str:
    return quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _from_escapes(text: str) -> str:
    """One level of backslashes less: a JSON text inside a JSON text."""
    return re.sub(r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|\\(.)",
                  lambda found: chr(int(found[1] or found[2], 16)) if found[1] or found[2] else found[3], text)


def _from_wide(text: str) -> str:
    return _BETWEEN.sub("", text)


def _from_behind(text: str) -> str:
    return text[::-1]


_STANDARD = str.maketrans("-_", "+/")


def _password_in(address: str) -> str:
    """The password of http://user:password@host, as it is used; "" where there is none."""
    try:
        return unquote(urlsplit(address).password or "")
    except ValueError:
        return ""
