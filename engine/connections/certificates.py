"""What is right and wrong with a certificate that a server presents, a sentence for each fault (B-04, C-08).

A diagnosis, not a door: no line is trusted on the strength of it. The chain is walked by signatures, so that a private
authority, a certificate that vouches for itself and a missing intermediate are told apart; a TLS library says "unable
to get local issuer certificate" to all three.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID

from engine.contract import Rejected

#: Below this, a certificate is said to end soon (B-04).
SOON = timedelta(days=30)
#: No public chain is longer; a loop of authorities that sign each other ends here.
CHAIN_MAX = 8


@dataclass(frozen=True, slots=True)
class Presented:
    """One certificate as presented. `faults`: the chain's and the dates' – empty is well; names are asked of `covers`.

    unreached   why there was none to look at; then nothing else is told
    names       DNS names it was made for, lower case, sorted        issuer   its issuer's common name
    not_after   UTC                                                 protocol "TLSv1.3"
    thumbprint  SHA-1 in hex, as Exchange names certificates
    """

    unreached: str = ""
    protocol: str = ""
    names: tuple[str, ...] = ()
    issuer: str = ""
    not_after: datetime | None = None
    thumbprint: str = ""
    faults: tuple[str, ...] = ()

    def covers(self, host: str) -> bool:
        """By name or by a wildcard for exactly one label (RFC 6125, section 6.4.3)."""
        host = host.lower()
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names

    def ends_soon(self, now: datetime) -> bool:
        return self.not_after is not None and now <= self.not_after < now + SOON


def authorities(connection: str, ca_file: object) -> tuple[x509.Certificate, ...]:
    """The roots that are believed: those of `ca_file`, else the bundled public ones. Raises Rejected."""
    import certifi

    path = Path(str(ca_file or certifi.where()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one old public root has a serial number of zero
            return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise Rejected(connection, f"ca_file {path}: {getattr(error, 'strerror', None) or 'not a certificate'}",
                       code="TLS", remedy="name a file of certificates in PEM form") from None


def presented(line: ssl.SSLSocket, roots: Sequence[x509.Certificate], now: datetime) -> Presented:
    """From an open line."""
    leaf, *rest = sent(line)
    faults = [*_dates(leaf, now), *_chain(leaf, rest, roots, now)]
    return Presented(
        protocol=str(line.version()), names=_names(leaf), issuer=_called(leaf.issuer),
        not_after=leaf.not_valid_after_utc, thumbprint=_thumbprint(leaf), faults=tuple(faults))


def sent(line: ssl.SSLSocket) -> list[x509.Certificate]:
    """The certificates the server sent, its own first."""
    # Public since Python 3.13; before, the same method stands one object further in.
    source: Any = line if hasattr(line, "get_unverified_chain") else line._sslobj  # type: ignore[attr-defined]
    chain = [each if isinstance(each, bytes) else ssl.PEM_cert_to_DER_cert(each.public_bytes())
             for each in source.get_unverified_chain()]
    return [x509.load_der_x509_certificate(each) for each in chain]


def _chain(leaf: x509.Certificate, sent_along: Sequence[x509.Certificate], roots: Sequence[x509.Certificate],
           now: datetime) -> Iterable[str]:
    if leaf.issuer == leaf.subject and leaf not in roots:
        yield "it is self-signed: the service believes only what a public authority has issued"
        return
    top = leaf
    for _ in range(CHAIN_MAX):
        if top in roots or any(_issued(top, root) for root in roots):
            return
        above = next((each for each in sent_along if _authority(each) and _issued(top, each)), None)
        if above is None or above.issuer == above.subject:
            break
        if not above.not_valid_before_utc <= now <= above.not_valid_after_utc:
            yield f"the authority «{_called(above.subject)}» above it is not valid now"
        top = above
    fetched = _where(top)
    if fetched:
        yield (f"an intermediate certificate is missing: the server does not send «{_called(top.issuer)}»; it can be "
               f"had from {fetched}")
    else:
        yield (f"its chain ends at «{_called(top.issuer)}», which is no public authority: a private one, or one whose "
               "intermediate certificate the server does not send")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    if certificate.issuer != authority.subject:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _authority(certificate: x509.Certificate) -> bool:
    try:
        found: Any = certificate.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return bool(found.ca)


def _where(certificate: x509.Certificate) -> str:
    """Where a public authority says that its own certificate can be fetched (RFC 5280, section 4.2.2.1)."""
    try:
        found: Any = certificate.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return next((str(each.access_location.value) for each in found
                 if each.access_method == AuthorityInformationAccessOID.CA_ISSUERS
                 and str(each.access_location.value).startswith("http")), "")


def _dates(leaf: x509.Certificate, now: datetime) -> Iterable[str]:
    if now > leaf.not_valid_after_utc:
        yield f"it ended on {leaf.not_valid_after_utc:%Y-%m-%d}"
    elif now < leaf.not_valid_before_utc:
        yield f"it is valid only from {leaf.not_valid_before_utc:%Y-%m-%d} on"


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """Of the subject alternative name alone: common names are believed by nobody any more (RFC 2818, section 3.1)."""
    try:
        found: Any = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(sorted({str(each).lower() for each in found.get_values_for_type(x509.DNSName)}))


def _called(name: x509.Name) -> str:
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME):
        found = name.get_attributes_for_oid(kind)
        if found:
            return str(found[0].value)
    return name.rfc4514_string()


def _thumbprint(leaf: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.hashes import SHA1

    return leaf.fingerprint(SHA1()).hex().upper()
