"""Files too large or too regular to be written out: named in the corpus as `made`."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path


def _aliases(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


def _mapping_aliases() -> bytes:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{l: *a{n - 1}, r: *a{n - 1}}}" for n in range(1, 30)]
    return "\n".join(lines).encode()


def _merges() -> bytes:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]" for n in range(1, 21)]
    return "\n".join(lines).encode()


def _alias_items() -> bytes:
    return b"a: &a [" + b"x," * 400 + b"x]\nb: [" + b"*a," * 400 + b"*a]\n"


def _workbook() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as book:
        book.writestr("[Content_Types].xml", "<Types/>")
        book.writestr("xl/worksheets/sheet1.xml", "<worksheet/>")
    return data.getvalue()


def _people(count: int, head: str, row: Callable[[int], str], end: str = "") -> bytes:
    return (head + "\n" + "".join(row(n) + "\n" for n in range(count)) + end).encode()


def _task(parameter: bytes) -> bytes:
    return (b"- name: Look\n  targets: domains\n  tasks:\n    - name: x\n"
            b'      mx_ttl: {domain: "{{ target }}", zone: "{{ row.zone }}", ' + parameter + b"}\n")


MADE: dict[str, Callable[[], bytes]] = {
    "alias bomb of lists": lambda: _aliases(9),
    "alias bomb of mappings": _mapping_aliases,
    "alias bomb of one level": _alias_items,
    "merge bomb": _merges,
    "a thousand brackets": lambda: b"[" * 1000,
    "a thousand braces": lambda: b"{a: " * 1000,
    "a thousand indents": lambda: b"".join(b" " * n + b"a:\n" for n in range(1000)),
    "a thousand dashes": lambda: b"- " * 1000 + b"x",
    "workbook": _workbook,
    "old workbook": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512),
    "old workbook of 64 kB": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\t\x08\x10" * 21_845,
    "gzip": lambda: gzip.compress(b"EmailAddress\nanna@contoso.com\n", mtime=0),
    "gzip of an inventory's list": lambda: gzip.compress(b"address,name\nanna@contoso.com,Anna\n", mtime=0),
    "gzip of a playbook": lambda: gzip.compress(b"- name: Look\n  targets: domains\n", mtime=0),
    "2,001 rows": lambda: _people(2001, "EmailAddress", lambda n: f"user{n}@contoso.com"),
    "2,001 rows and blank lines": lambda: _people(2001, "EmailAddress", lambda n: f"user{n}@contoso.com", "\n\n,\n"),
    "2,500 rows with passwords": lambda: _people(
        2500, "EmailAddress,Password", lambda n: f"user{n}@contoso.com,Winter-{n}-snow"),
    "1,500 wrong rows of a batch": lambda: _people(1500, "EmailAddress", lambda n: f"user {n}"),
    "1,500 wrong rows of an inventory": lambda: _people(1500, "address,name", lambda n: f"user {n},User {n}"),
    "1,500 short rows": lambda: _people(1500, "address,name,server", lambda n: f"user{n}@contoso.com"),
    "1,500 wrong tasks": lambda: b"- name: Look\n  targets: domains\n  tasks:\n" + b"".join(
        b"    - {name: T%d, dns_recrd: {zone: x}}\n" % n for n in range(1500)),
    "a field of 200,000 letters": lambda: b"address,name\nanna@contoso.com," + b"x" * 200_000 + b"\n",
    "a line of a million letters": lambda: b"- name: " + b"x" * 1_000_000 + b"\n  targets: nowhere\n",
    "a key of 100,000 letters": lambda: b"- " + b"k" * 100_000 + b": x\n",
    "forty megabytes of YAML": lambda: b"- name: x\n" * 4_200_000,
    "forty megabytes of CSV": lambda: b"address,name\n" + b"anna@contoso.com,Anna\n" * 1_900_000,
    "five thousand digits in a parameter": lambda: _task(b"at_most: " + b"9" * 5000),
    "five thousand digits in an expression": lambda: _task(b'at_most: "{{ ' + b"9" * 5000 + b' }}"'),
    "a plan of a thousand brackets": lambda: b'{"form": "mailmove plan 1", "x": ' + b"[" * 100_000,
    "a plan of five thousand digits": lambda: b'{"form": "mailmove plan 1", "made_at": ' + b"9" * 5000 + b"}",
}


def sparse_gigabyte(path: Path) -> None:
    """One GiB of NULs that takes no room on the disk."""
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
