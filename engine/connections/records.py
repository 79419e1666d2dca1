"""DNS record data in the one written form by which values are compared (docs/design.md, Names of real things).

Host names lower case in A-label form with the trailing dot, addresses in their shortest form, TXT as unquoted text. A
host name without a trailing dot is absolute all the same: no value is ever relative to a zone.
"""

from __future__ import annotations

import ipaddress
import re

import idna

TYPES = ("MX", "TXT", "CNAME", "SRV", "A", "AAAA")

#: ß, ς and the two joiners: another name, or none, by IDNA 2003 and by IDNA 2008.
DEVIATING = "\u00df\u03c2\u200c\u200d"

#: Numbers before the host name, by type (RFC 1035, section 3.3.9; RFC 2782).
_NUMBERS = {"MX": 1, "SRV": 3, "CNAME": 0, "NS": 0, "PTR": 0}

_FULL_NAME = re.compile(r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{1,62}")

_SPF_LOOKUPS = ("include:", "redirect=", "exists:", "ptr", "a:", "a/", "mx:", "mx/")


def host(name: str) -> str:
    """A host name as compared. Raises ValueError for what is none (RFC 1035, section 2.3.4; RFC 5891)."""
    bare = name.strip().rstrip(".")
    if name.strip() == ".":
        return "."  # the null MX of RFC 7505
    if any(each in DEVIATING for each in bare):
        raise ValueError(f"{name!r} has a letter that old and new rules write differently (UTS 46, section 4): "
                         "write the name in its xn-- form")
    try:
        plain = bare.lower() if bare.isascii() else idna.encode(bare, uts46=True).decode()
    except UnicodeError:  # idna.IDNAError is one
        raise ValueError(f"{name!r} is not a host name") from None
    labels = plain.split(".")
    if len(plain) > 253 or any(not 0 < len(label) <= 63 or any(each.isspace() for each in label) for label in labels):
        raise ValueError(f"{name!r} is not a host name")
    return f"{plain}."


def canonical(kind: str, value: str) -> str:
    """One value of a record set as compared. Raises ValueError with what is wrong with it."""
    if kind == "TXT":
        return value
    if kind in ("A", "AAAA"):
        return str(ipaddress.IPv4Address(value.strip()) if kind == "A" else ipaddress.IPv6Address(value.strip()))
    if kind not in _NUMBERS:
        return value.strip()
    *numbers, name = value.split() or [""]
    if len(numbers) != _NUMBERS[kind] or any(not part.isdecimal() or int(part) > 65_535 for part in numbers):
        shape = {"MX": "preference host", "SRV": "priority weight port host"}.get(kind, "host")
        raise ValueError(f"{value!r} is not of the form «{shape}»")
    return " ".join([*(str(int(part)) for part in numbers), host(name)])


def label_of(name: str, zone: str) -> str:
    """The owner below a zone: `@` for the apex. Raises ValueError when the name does not lie in the zone."""
    whole, apex = host(name), host(zone)
    if whole == apex:
        return "@"
    if not whole.endswith(f".{apex}"):
        raise ValueError(f"{name} does not lie in the zone {zone}")
    return whole.removesuffix(f".{apex}")


def owner_name(label: str, zone: str) -> str:
    """The whole name of an owner, with the trailing dot."""
    return host(zone) if label in ("@", "") else f"{label.lower()}.{host(zone)}"


def spf_problem(texts: tuple[str, ...]) -> str:
    """What RFC 7208 forbids about these TXT values, "" for nothing: two policies (3.2), over ten look-ups (4.6.4)."""
    policies = [text for text in texts if text.lower().split(" ")[0] == "v=spf1"]
    if len(policies) > 1:
        return "two SPF policies on one name (RFC 7208, section 3.2)"
    for policy in policies:
        terms = [term.lstrip("+-~?").lower() for term in policy.split()[1:]]
        costly = [term for term in terms if term in ("a", "mx") or term.startswith(_SPF_LOOKUPS)]
        if len(costly) > 10:
            return f"an SPF policy with {len(costly)} look-ups, ten are allowed (RFC 7208, section 4.6.4)"
    return ""


def zone_file(kind: str, value: str) -> str:
    """Zone-file form of a value; TXT in quoted pieces of at most 255 bytes (RFC 1035, section 3.3)."""
    if kind != "TXT":
        return value
    data = value.encode()
    pieces = [data[start:start + 255] for start in range(0, len(data), 255)] or [b""]
    return " ".join('"' + "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03}" for byte in piece) + '"'
        for piece in pieces)


def host_problem(name: str) -> str:
    """Why this is no full host name, "" when it is one: what people type instead has a sentence each (B-23)."""
    text = name.strip()
    if "/" in text or ":" in text:
        return f"{name!r} is a URL; write the host name alone, as in mail.contoso.com"
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        return f"{name!r} is an IP address; a certificate is made for a name, as in mail.contoso.com"
    if "." not in text.rstrip("."):
        return f"{name!r} is a short (NetBIOS) name; write the full one, as in mail.contoso.com"
    return "" if _FULL_NAME.fullmatch(text) else f"{name!r} is not a host name (RFC 1123, section 2.1)"
