"""JSON Schema of `inventory.yml`. Scalars are accepted as YAML types and as text: see engine.language.source."""

from __future__ import annotations

from typing import Any

from engine.language.schema import DURATION, SECRET, TEXT, TRUE_FALSE, WHOLE, Kind

KINDS = ("organisation", "servers", "databases", "domains", "mailboxes", "recipients", "groups", "batches")
#: the column that names a row
KEYS = {
    "servers": "server",
    "databases": "database",
    "domains": "domain",
    "batches": "batch",
    "mailboxes": "address",
    "recipients": "address",
    "groups": "address",
}
#: releases of the source; the pages name those up to 2013 (C-01)
RELEASES = (2003, 2007, 2010, 2013, 2016, 2019)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _of(kind: Kind, description: str = "") -> dict[str, Any]:
    return {"anyOf": kind.forms(), "errorMessage": kind.words, **({"description": description} if description else {})}


def _mapping(
    properties: dict[str, Any], required: tuple[str, ...] = (), description: str = "", more: Any = False
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": more,
        **({"description": description} if description else {}),
    }


_ANY: dict[str, Any] = {}
_SERVER = {"host": _of(TEXT), "port": _of(WHOLE), "user": _of(TEXT), "password": _of(SECRET), "ca_file": _of(TEXT)}
_TOKEN = {
    "url": _of(TEXT, "Base address; default: Microsoft's."),
    "authority": _of(TEXT, "Who gives the token."),
    "tenant": _of(TEXT),
    "client_id": _of(TEXT, "The application's id."),
    "client_secret": _of(SECRET),
    "certificate": _of(SECRET, "Key and certificate (PEM), instead of client_secret."),
    "scope": _of(TEXT),
    "ca_file": _of(TEXT, "An own certificate authority (PEM)."),
    "proxy": {
        "anyOf": [*TEXT.forms(), *SECRET.forms()],
        "errorMessage": "http://proxy:8080, or a secret where it holds a password",
        "description": "URL, instead of the environment's HTTPS_PROXY.",
    },
}
_MAIL = {**_SERVER, "tls": {"enum": ["none", "starttls", "tls"]}, "sender": _of(TEXT, "Address mail is sent from.")}

_DNS = _mapping(
    {
        "provider": {"enum": ["rfc2136", "lexicon", "by_hand"]},
        "api": _of(TEXT, "With lexicon: the DNS host's name in the library dns-lexicon, as in cloudflare."),
        "options": {
            "type": "object",
            "additionalProperties": {"anyOf": [*TEXT.forms(), *SECRET.forms()]},
            "description": "With lexicon: what the library asks for, as in auth_token: !secret env:NAME.",
        },
        "mx": {"enum": ["content", "option"], "description": "With lexicon: where an MX preference goes."},
        "servers": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": _of(TEXT)},
            "description": "Authoritative servers by zone: address or address:port.",
        },
        "update": _mapping(
            {"server": _of(TEXT), "key_name": _of(TEXT), "algorithm": _of(TEXT), "secret": _of(SECRET)}
        ),
        "resolvers": {"type": "array", "items": _of(TEXT), "description": "Resolvers outside, shown beside."},
    }
)

CONNECTIONS: dict[str, dict[str, Any]] = {
    "graph": _mapping({**_TOKEN, "sender": _of(TEXT, "Licensed mailbox that letters are sent from; none: by smtp.")}),
    "exchange_online": _mapping(
        {
            **_TOKEN,
            "shell": {"enum": ["none", "pwsh"]},
            "pwsh": _of(TEXT, "The PowerShell program, for shell: pwsh."),
            "source_password": _of(SECRET, "Password of the endpoint's account, for shell: pwsh."),
            "organisation": _of(TEXT, "Name PowerShell signs in to; default: the tenant's domain."),
            "anchor_mailbox": _of(TEXT),
        }
    ),
    "dns": _DNS,
    "internal_dns": _DNS,
    "directory": _mapping(
        {
            **_SERVER,
            "tls": {"enum": ["ldaps", "starttls", "none"]},
            "base": _of(TEXT),
            "conversion": {
                "enum": ["ldap", "script"],
                "description": "How mailboxes are converted; default: script from Exchange 2007 on, ldap before.",
            },
        }
    ),
    "ews": _mapping(
        {
            "provider": {"enum": ["ews", "list", "none"]},
            "file": _of(TEXT),
            "url": _of(TEXT),
            "user": _of(TEXT),
            "password": _of(SECRET),
            "version": _of(TEXT),
            "ca_file": _of(TEXT),
        }
    ),
    "published": _mapping(
        {
            "address": _of(TEXT, "Connect here, as host or host:port, instead of where public DNS points."),
            "ca_file": _of(TEXT, "Authorities believed instead of the public ones (PEM)."),
        },
        description="The source's published names, as the world outside sees them. May be empty: {}.",
    ),
    "smtp": _mapping(_MAIL),
    "source_smtp": _mapping(_MAIL),
    "source_shell": _mapping(
        {
            **_SERVER,
            "provider": {"enum": ["none", "pypsrp"]},
            "auth": {"enum": ["kerberos", "negotiate", "basic"]},
            "tls": {"enum": ["none", "tls"]},
        }
    ),
    "webhook": _mapping(
        {
            "url": {
                "anyOf": [*TEXT.forms(), *SECRET.forms()],
                "errorMessage": "an https address, or a secret where it holds a key",
                "description": "Where a run's news is posted as JSON.",
            },
            "ca_file": _of(TEXT, "An own certificate authority (PEM)."),
            "proxy": _of(SECRET, "URL, instead of the environment's HTTPS_PROXY."),
        },
        ("url",),
        "Is told when a run parks on a person, fails, or waits longer than planned.",
    ),
}

_RELATION = {
    "anyOf": [
        {"type": "string", "pattern": "^through +[a-z]+$"},
        _mapping(
            {"to": {"enum": list(KINDS[1:])}, "one": _of(TRUE_FALSE), "many": _of(TRUE_FALSE), "from": _of(TEXT)},
            ("to",),
        ),
    ],
    "errorMessage": "{to: KIND, one: true}, {to: KIND, many: true, from: COLUMN} or through KIND",
}

INVENTORY: dict[str, Any] = {
    "title": "mailmove inventory",
    **_mapping(
        {
            "migration": {
                "type": "string",
                "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
                "description": "Name of the migration; it names the journal.",
                "errorMessage": "a name of letters, digits, dots and dashes, as in contoso-staged",
            },
            "type": {"enum": ["staged", "cutover"], "description": "How the mailboxes move."},
            "exchange": {
                "anyOf": [{"enum": [str(release) for release in RELEASES]}, {"enum": list(RELEASES)}],
                "errorMessage": f"one of {', '.join(map(str, RELEASES))}",
                "description": "Version of the source.",
            },
            "tenant": _mapping(
                {"id": _of(TEXT), "domain": _of(TEXT, "As in contoso.onmicrosoft.com.")},
                description="The one tenant that may be written to.",
            ),
            "planned_end": {
                "type": "string",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
                "errorMessage": "a day, as in 2026-12-18",
                "description": "When it is to have ended: what expires before is told.",
            },
            "vars": {"type": "object", "description": "Variables, the lowest level.", "additionalProperties": _ANY},
            "budget": {
                "type": "object",
                "additionalProperties": _of(WHOLE),
                "description": "How much may be done at most: guarded_acts.",
            },
            "rows": _mapping(
                {
                    kind: {
                        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, {"type": "null"}],
                        "errorMessage": "a CSV file beside the inventory, or a list of rows",
                        "description": f"Rows with the column {KEYS[kind]}: a list, or a CSV file.",
                    }
                    for kind in KINDS[1:]
                }
            ),
            "relations": {
                "type": "object",
                "additionalProperties": _RELATION,
                "description": "Relations beyond the usual.",
            },
            "windows": {
                "type": "object",
                "additionalProperties": _mapping(
                    {
                        "days": {
                            "anyOf": [
                                {"type": "array", "items": {"enum": list(DAYS), "errorMessage": "a day, as in friday"}}
                            ],
                            "errorMessage": "a list of days, as in [friday]",
                        },
                        "opens": {
                            "type": "string",
                            "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$",
                            "errorMessage": 'a time in quotes, as in "20:00"',
                        },
                        "closes": {
                            "type": "string",
                            "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$",
                            "errorMessage": 'a time in quotes, as in "06:00"',
                        },
                        "timezone": _of(TEXT, "As in Europe/Berlin."),
                        "freezes": {
                            "type": "array",
                            "items": _mapping({"from": _of(TEXT), "to": _of(TEXT)}, ("from", "to")),
                        },
                    },
                    ("days", "opens", "closes", "timezone"),
                    "Local times between which acts may start.",
                ),
            },
            "administrator": _of(TEXT, "Who is told by mail when mail goes to the cloud; none: nobody."),
            "tell": _mapping(
                {
                    "mail": {
                        "anyOf": [*TEXT.forms(), {"type": "array", "items": _of(TEXT)}],
                        "errorMessage": "an address, or a list of addresses",
                        "description": "Who is told by the connection smtp.",
                    },
                    "late_after": _of(DURATION, "A wait for the service that lasts longer is told; default: 24 hours."),
                },
                description="Who is told when a run parks on a person, fails, or waits longer than planned.",
            ),
            "letters": _of(TEXT, "Folder beside the inventory with letters in your own words: NAME.txt each."),
            "connections": {**_mapping(CONNECTIONS), "description": "How each remote system is reached."},
            "clock": _mapping({"url": _of(TEXT)}, ("url",), "Only where another process owns the time (the lab)."),
        },
        ("migration", "type"),
    ),
}
