"""Host, port, secret and trust of one server, as an inventory's connection names them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from engine.connections.secrets import Secret
from engine.contract import Denied, Rejected
from engine.world import Clock, World

#: A refused sign-in is not tried again for so long.
REFUSED_PAUSE = timedelta(minutes=10)


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


class SignIn:
    """Keeps a refused sign-in from being tried once for every row: that would lock the account (C6)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: tuple[datetime, Denied] | None = None

    def check(self) -> None:
        """Raises Denied where the last try was refused, and is not yet REFUSED_PAUSE ago."""
        if self._refused is not None and self._clock.now() - self._refused[0] < REFUSED_PAUSE:
            fault = self._refused[1]
            raise Denied(fault.connection, fault.text, code=fault.code, remedy=fault.remedy)

    def refused(self, fault: Denied) -> Denied:
        """Remembers the fault, and hands it back to be raised."""
        self._refused = (self._clock.now(), fault)
        return fault
