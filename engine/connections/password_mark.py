"""Notices that the source account's password is another one than the endpoint was given (B-21).

The service never shows a password. So when one is handed over a mark of it is kept: a slow, salted digest (scrypt,
RFC 7914), readable by its owner only, from which the password cannot be had. The password is the one with which the
inventory's own connections sign in as the same account.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from engine.connections.endpoint import opened
from engine.connections.migration_objects import moment
from engine.contract import Denied
from engine.world import write_whole

if TYPE_CHECKING:
    from engine.connections import Site

#: unknown: no mark was ever made, or no connection signs in as the account
Standing: TypeAlias = Literal["current", "handed over", "changed", "unknown"]
#: Connections that may sign in as the migration administrator.
SOURCES = ("directory", "ews")
#: 16 MiB and some hundredths of a second a look.
COST, BLOCK, LANES = 1 << 14, 8, 1


class PasswordMark:
    """The mark of one endpoint's account, in the migration's exports folder."""

    def __init__(self, site: Site, endpoint: str, account: str) -> None:
        self._site = site
        self._account = account
        name = hashlib.blake2b(endpoint.lower().encode(), digest_size=8).hexdigest()
        folder = site.settings.get("exports")  # a site without one is nobody's migration: nothing is kept for it
        self._path = Path(str(folder)) / f"endpoint-{name}.json" if folder else None

    def standing(self, modified: datetime | None) -> Standing:
        """`modified`: when the service's endpoint was last changed. Raises nothing: what cannot be told is unknown."""
        password = self._password()
        if password is None or self._path is None or not self._path.exists():
            return "unknown"
        try:
            kept = json.loads(self._path.read_bytes())
            salt, digest, handed = bytes.fromhex(kept["salt"]), str(kept["digest"]), moment(kept["handed_at"])
        except (ValueError, KeyError, TypeError):
            return "unknown"
        if not hmac.compare_digest(_digest(password, salt), digest):
            return "changed"
        # Where the service does not say when it was changed, the availability test is the judge.
        return "current" if modified is None or handed is None or modified >= handed else "handed over"

    def keep(self) -> None:
        """The password of now is about to be handed over. Nothing is kept where no connection knows it."""
        password = self._password()
        if password is None or self._path is None:
            return
        salt = self._site.world.random.randbytes(16)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._path, json.dumps({
            "salt": salt.hex(), "digest": _digest(password, salt),
            "handed_at": self._site.world.clock.now().isoformat()}).encode())

    def _password(self) -> str | None:
        given = self._site.settings_of("exchange_online").get("source_password")
        if given is not None:  # what mailmove itself hands in
            return self._opened(given)
        for name in SOURCES:
            settings = self._site.settings_of(name)
            if settings.get("password") and _same_account(str(settings.get("user") or ""), self._account):
                return self._opened(settings["password"])
        return None

    def _opened(self, value: object) -> str | None:
        try:
            return opened(value, self._site.world)
        except Denied:
            return None  # its source is silent: the connection itself says so when it is used


def _digest(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=LANES).hex()


def _same_account(one: str, other: str) -> bool:
    """DOMAIN\\name, name@domain and the bare name of one account; where both say a domain's name, it must agree."""
    def parts(user: str) -> tuple[str, str]:
        domain, sign, name = user.rpartition("\\")
        if not sign:
            name, _, domain = user.partition("@")
        return name.lower(), domain.lower().partition(".")[0]

    (name, domain), (name2, domain2) = parts(one), parts(other)
    return bool(name) and name == name2 and (domain == domain2 or not domain or not domain2)
