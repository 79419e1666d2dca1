"""Host, port, secret and trust of one server, as an inventory's connection names them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from engine.connections.secrets import Secret
from engine.contract import Rejected
from engine.world import World


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """From `host`, `host:port`, `[::1]:port` or a bare IPv6 address. Raises ValueError for a port that is none."""
    text = text.strip()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    return host, int(port) if port else default


def opened(value: object, world: World) -> str:
    """The text of a setting that may be a Secret, at the moment of use. Raises Denied when its source is silent."""
    return value.open(world) if isinstance(value, Secret) else str(value or "")


def trust(connection: str, settings: Mapping[str, Any]) -> ssl.SSLContext:
    """Verifies certificate and name, always; `ca_file` names an own authority beside none other. Raises Rejected."""
    try:
        return ssl.create_default_context(cafile=str(settings["ca_file"]) if settings.get("ca_file") else None)
    except (OSError, ssl.SSLError) as error:
        raise Rejected(connection, f"ca_file {settings['ca_file']}: {error.strerror or 'not a certificate'}",
                       code="TLS", remedy="name a file of certificates in PEM form") from None


def untrusted(connection: str, host: str) -> Rejected:
    """What a certificate that does not verify is called, in every client alike."""
    return Rejected(connection, f"the certificate of {host} is not trusted", code="TLS",
                    remedy="name the authority that issued it with ca_file, or mend the certificate")
