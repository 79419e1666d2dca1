"""What is fed with any bytes at all, and the only exceptions that may come out of it.

Each target is the product's own reader or client; those of the services are in `services.py`. Everything else an input
raises is a bug (safety notes, C7, E1, F).
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rdatatype

from engine.connections import batch_csv
from engine.connections.dns_answers import held
from engine.connections.dns_lookup import Asked
from engine.contract import Fault, Invalid
from engine.language import source
from engine.language.expressions import Wrong
from engine.language.operations import NO_OUTPUTS, Scope, Unusable
from engine.language.template import PlainNames, compile_text
from tests.fuzz.services import TENANT, Json, Soap

NAMES = PlainNames({"target": "contoso.com", "n": "5", "names": ("b", "a"), "deep": {"a": {"b": 1}}, "no": False,
                    "data": "{{ target }}"})


def yaml(data: bytes) -> None:
    document = source.parse(data, "f.yml")
    if document.root is not None:
        source.plain(document.root)


def csv(data: bytes) -> None:
    with contextlib.suppress(Invalid):
        batch_csv.parse(data, "f.csv")


def expression(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(Wrong, Unusable):
        compile_text(text, NAMES).evaluate(Scope(0, "contoso.com", None, NO_OUTPUTS))


def plan(data: bytes) -> None:
    from engine.contract import Refusal
    from engine.plan_file import parse

    with contextlib.suppress(Refusal):
        kept = parse(data, "plan.json")
        # what `apply` does with it before it reads anything else
        assert all(isinstance(f"{name}={value}", str) for name, value in kept.extra_vars.items())
        assert kept.plan.tokens - {b""} is not None and str(kept.playbook) and str(kept.inventory)


class _Dns:
    """An answer's bytes, as they come from a socket, and what is made of them."""

    def __init__(self) -> None:
        self.asked = Asked("192.0.2.53", 53, dns.name.from_text("contoso.com."), dns.rdatatype.MX)

    def __call__(self, data: bytes) -> None:
        try:
            reply = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
        except (dns.exception.DNSException, ValueError):
            return  # what `dns_lookup` passes over
        with contextlib.suppress(Fault):
            held("dns", reply, "192.0.2.53", self.asked, authoritative=True)


def made(name: str) -> Callable[[bytes], None]:
    """A target, ready to be fed."""
    kinds: dict[str, Callable[[], Callable[[bytes], None]]] = {
        "yaml": lambda: yaml, "csv": lambda: csv, "expression": lambda: expression, "plan": lambda: plan,
        "json": Json, "soap": Soap, "dns": _Dns}
    return kinds[name]()


def mutated(name: str, data: bytes, rng: random.Random) -> bytes:
    """The input changed in one to six places; JSON in its values too, so that it stays JSON."""
    if name in ("json", "plan") and rng.random() < 0.7:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = json.loads(rng.choice(seeds(name)))
        for _ in range(rng.randint(1, 4)):
            document = _replaced(document, rng)
        return json.dumps(document).encode()
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0 if changed:
                changed[place % len(changed)] = rng.randrange(256)
            case 1:
                del changed[place:place + rng.randint(1, 20)]
            case 2:
                changed[place:place] = changed[place:place + rng.randint(1, 40)]
            case 3:
                changed[place:place] = rng.choice(_PIECES)
            case _:
                changed[place:] = rng.choice(seeds(name))[place:]
    return bytes(changed)


_PIECES = (b"{{", b"null", b"-1", b"[]", b"{}", b'"', b"1e999", b"\0", b"&a", b"*a", b"]]>", b"true", b"\xff",
           b"0" * 30)
_VALUES = (None, True, -1, 2**70, 1e308, "", "x", "2026-02-30", "99999999999", [], {}, [None], [[]], {"value": None},
           {"error": None}, [{"id": 0}], "1.2 GB (1,288 bytes)", "nan", 0.5, {"message": {"a": 1}}, "/o=x|y|z", "@")


def _replaced(document: Any, rng: random.Random) -> Any:
    """One value, anywhere in it, is another one, is gone, or stands twice."""
    if isinstance(document, dict) and document and rng.random() < 0.85:
        name = rng.choice(list(document))
        if rng.random() < 0.1:
            return {key: value for key, value in document.items() if key != name}
        return {**document, name: _replaced(document[name], rng)}
    if isinstance(document, list) and document and rng.random() < 0.85:
        place = rng.randrange(len(document))
        if rng.random() < 0.1:
            return [*document, document[place]]
        return [*document[:place], _replaced(document[place], rng), *document[place + 1:]]
    return rng.choice(_VALUES)


NAMES_OF_TARGETS = ("yaml", "csv", "expression", "plan", "json", "soap", "dns")


@cache
def seeds(name: str) -> list[bytes]:
    """What a fuzzer starts from: small inputs that are right."""
    import dns.rrset

    envelope = ('<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>'
                '<t:ServerVersionInfo MajorVersion="14" MinorVersion="3" MajorBuildNumber="0" MinorBuildNumber="0" '
                'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>'
                '<m:FindFolderResponse xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" '
                'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages>'
                '<m:FindFolderResponseMessage ResponseClass="{}"><m:ResponseCode>{}</m:ResponseCode>{}'
                "</m:FindFolderResponseMessage></m:ResponseMessages></m:FindFolderResponse></s:Body></s:Envelope>")
    folders = ('<m:RootFolder TotalItemsInView="1" IncludesLastItemInRange="true"><t:Folders><t:Folder>'
               '<t:FolderId Id="a" ChangeKey="b"/><t:TotalCount>12</t:TotalCount></t:Folder></t:Folders>'
               "</m:RootFolder>")
    replies = ('<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
               '<GetUserOofSettingsResponse xmlns="http://schemas.microsoft.com/exchange/services/2006/messages">'
               '<ResponseMessage ResponseClass="Success"><ResponseCode>NoError</ResponseCode></ResponseMessage>'
               '<OofSettings xmlns="http://schemas.microsoft.com/exchange/services/2006/types">'
               "<OofState>Scheduled</OofState><ExternalAudience>All</ExternalAudience><Duration>"
               "<StartTime>2026-11-01T00:00:00Z</StartTime><EndTime>2026-11-09T00:00:00Z</EndTime></Duration>"
               "<InternalReply><Message>away</Message></InternalReply>"
               "<ExternalReply><Message>away</Message></ExternalReply></OofSettings>"
               "<AllowExternalOof>All</AllowExternalOof></GetUserOofSettingsResponse></s:Body></s:Envelope>")
    grow = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
    bomb = (f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "lol">{grow}]>'
            + envelope.format("Error", "&e8;", "").removeprefix('<?xml version="1.0"?>')).encode()
    answer = dns.message.make_response(dns.message.make_query("contoso.com.", "MX"))
    answer.flags |= 0x0400
    answer.answer.append(dns.rrset.from_text("contoso.com.", 300, "IN", "MX", "10 mail.contoso.com."))
    row = {"Identity": "anna@contoso.com", "EmailAddress": "anna@contoso.com", "Status": "Synced", "BatchId": "B1",
           "PrimarySmtpAddress": "anna@contoso.com", "EmailAddresses": ["SMTP:anna@contoso.com"], "ItemCount": 5,
           "RecipientTypeDetails": "UserMailbox", "ExchangeGuid": TENANT, "MessageId": "<a@b>",
           "Received": "2026-11-01T00:00:00", "LastSuccessfulSyncTime": "2026-11-01T00:00:00.0000000Z",
           "id": TENANT, "userPrincipalName": "anna@contoso.com", "assignedLicenses": [{"skuId": TENANT}],
           "prepaidUnits": {"enabled": 5}, "consumedUnits": 1, "servicePlans": [{"servicePlanName": "EXCHANGE_S"}],
           "signInActivity": {"lastSignInDateTime": "2026-11-01T00:00:00Z"}, "MaxNumberOfBatches": 100,
           "passwordCredentials": [{"displayName": "x", "endDateTime": "2027-01-01T00:00:00Z"}],
           "licenseAssignmentStates": [{"skuId": TENANT, "error": "CountViolation", "state": "Error"}],
           "onPremisesProvisioningErrors": [{"category": "PropertyConflict", "value": "x"}],
           "recordType": "Txt", "text": "MS=ms1", "ttl": 3600, "label": "contoso.com", "supportedService": "Email",
           "mailExchange": "x.mail.protection.outlook.com", "preference": 0, "Identity2": None}
    error = {"error": {"code": "x", "message": "a|B.CException|c", "details": [{"message": "a|B.CException|c"}],
                       "innererror": {"internalexception": {"message": "m"}}}}
    return {
        "yaml": [b"- name: a\n  targets: domains\n  tasks:\n    - {name: b, x: \"{{ c }}\"}\n", b"a: &a [1]\nb: *a\n",
                 b"a: !secret env:X\nb: |\n  c\n  d\n"],
        "csv": [b'EmailAddress,Password,ForceChangePassword\r\nanna@contoso.com,"a,b""c",True\r\n',
                b"\xff\xfeE\0m\0"],
        "expression": [b"{{ target }}", b"a {{ names | sort | join(', ') }} b", b"{{ longest(hours(72), seconds(n)) }}",
                       b"{{ deep['a'].b + 1 if not no else count(names) }}"],
        "plan": [json.dumps({
            "form": "mailmove plan 1", "name": "x", "playbook": "p", "made_at": "2026-11-02T07:00:00+00:00",
            "digest": "a",
            "tasks": [{"name": "t", "play": "p", "kind": "domains", "module": "mx_ttl", "mark": "p:1:1", "rows": 1}],
            "groups": [{"task": 0, "word": "change", "count": 1, "text": "ttl", "rows": ["contoso.com"],
                        "guarded": ["g"], "undo": "none", "after": "", "sample": ""}],
            "calendar": [{"text": "w", "at": "2026-11-02T07:00:00+00:00", "after": "", "rows": 1}],
            "problems": [{"summary": "s", "found": "f", "remedy": "r"}], "counts": {"change": 1}, "tokens": ["00"],
            "findings": [{"check": "c", "severity": "warn", "text": "t", "remedy": "r", "rows": ["x"], "count": 1,
                          "told": True, "liftable": False}],
            "rows": [{"task": 0, "row": "contoso.com", "word": "change", "text": "t"}], "order": [0],
            "playbook_file": "p", "inventory_file": "i", "extra_vars": {"a": "b"}}).encode()],
        "json": [json.dumps({"value": [row]}).encode(), json.dumps(error).encode(),
                 json.dumps({"responses": [{"id": "0", "status": 200, "body": {"value": [row]}}]}).encode()],
        "soap": [envelope.format("Success", "NoError", folders).encode(), replies.encode(),
                 envelope.format("Error", "ErrorServerBusy", "").encode(), bomb],
        "dns": [answer.to_wire()],
    }[name]
