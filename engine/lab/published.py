"""The source's published name: a TLS listener that presents a certificate and answers /rpc and /autodiscover.

The certificate and the answers can be spoilt on purpose: `POST /fault {"kind": "published", "certificate": …,
"outlook_anywhere": …}`, or the organisation file's "published". Bytes in, bytes out; `engine.lab.source` serves it.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

#: What may be wrong with the certificate; "good" is well.
CERTIFICATES = ("good", "self_signed", "private", "mismatch", "no_autodiscover", "expired", "soon", "no_intermediate",
                "old_tls")
#: What Outlook Anywhere does: asks for Basic and NTLM; for one of them; is not there; the port is closed.
ANSWERS = ("on", "basic", "ntlm", "off", "closed")
#: What Autodiscover says of Outlook Anywhere to who signs in: its section, or none of it.
SETTINGS = ("on", "no_expr")
_RESPONSE = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
_OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
_OFFERS = {"on": ("Basic", "NTLM"), "basic": ("Basic",), "ntlm": ("NTLM", "Negotiate")}

Key = ec.EllipticCurvePrivateKey


@dataclass
class Published:
    """One published host with its further names. Authorities are made at the start, certificates when they are asked
    for; `folder` keeps them as files, since that is what a TLS library loads."""

    host: str
    names: Sequence[str]
    folder: Path
    now: Callable[[], datetime]
    has_autodiscover: bool = True
    certificate: str = "good"
    outlook_anywhere: str = "on"
    autodiscover: str = "on"
    #: whether these are the migration account's credentials, and on which server an address has its mailbox
    account_ok: Callable[[str, str], bool] = lambda user, password: False
    server_of: Callable[[str], str | None] = lambda address: None
    _made: dict[str, ssl.SSLContext] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._root = _authority("Lab Public Root", None, self.now())
        self._intermediate = _authority("Lab Public Issuing Authority", self._root, self.now())
        self._private = _authority("Contoso Internal Root", None, self.now())
        self.ca_file = self.folder / "public-roots.pem"
        self.ca_file.write_bytes(_pem(self._root[0]))

    def set(self, body: Mapping[str, Any]) -> None:
        """Spoil it, or mend it. ValueError for a word that is not known."""
        for name, known in (("certificate", CERTIFICATES), ("outlook_anywhere", ANSWERS),
                            ("autodiscover", SETTINGS)):
            if name in body:
                if body[name] not in known:
                    raise ValueError(f"{name}: one of {', '.join(known)}")
                setattr(self, name, body[name])

    def context(self) -> ssl.SSLContext:
        """What a handshake meets now."""
        kept = self._made.get(self.certificate)
        if kept is None:
            kept = self._made[self.certificate] = self._context(self.certificate)
        return kept

    def answer(self, request: bytes) -> bytes:
        """To one HTTP request. Only Autodiscover looks at credentials, when it is asked for somebody's settings."""
        asked = re.match(rb"[A-Z]+ (\S+) HTTP/1\.[01]\r\n", request)
        path = (asked[1] if asked else b"").split(b"?")[0].lower()
        if path == b"/rpc/rpcproxy.dll" and self.outlook_anywhere in _OFFERS:
            offers = _OFFERS[self.outlook_anywhere]
        elif path == b"/autodiscover/autodiscover.xml" and self.has_autodiscover:
            if request.startswith(b"POST") and self._signed_in(request):
                return self._settings(request)
            offers = ("Basic", "NTLM")
        else:
            return _response(b"404 Not Found")
        return _response(b"401 Unauthorized", *(b"WWW-Authenticate: " + (
            b'Basic realm="mail"' if each == "Basic" else each.encode()) for each in offers))

    def _signed_in(self, request: bytes) -> bool:
        given = re.search(rb"\r\nAuthorization: Basic (\S+)\r\n", request, re.IGNORECASE)
        try:
            user, _, password = base64.b64decode(given[1] if given else b"", validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return bool(given) and self.account_ok(user, password)

    def _settings(self, request: bytes) -> bytes:
        """[MS-OXDSCLI]: one Account with its Protocols, or an Error. Shapes of Exchange 2007 and 2010."""
        asked = re.search(rb"<EMailAddress>([^<]*)</EMailAddress>", request)
        server = self.server_of(asked[1].decode("utf-8", "replace").lower() if asked else "")
        if server is None:
            told = ("<Error><ErrorCode>500</ErrorCode><Message>The e-mail address can't be found.</Message></Error>")
        else:
            outside = (f"<Protocol><Type>EXPR</Type><Server>{self.host}</Server><SSL>On</SSL>"
                       "<AuthPackage>Basic</AuthPackage></Protocol>") if self.autodiscover == "on" else ""
            told = ("<Account><AccountType>email</AccountType><Action>settings</Action><Protocol><Type>EXCH</Type>"
                    f"<Server>{server}</Server></Protocol>{outside}</Account>")
        body = (f'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="{_RESPONSE}"><Response '
                f'xmlns="{_OUTLOOK}">{told}</Response></Autodiscover>').encode()
        return _response(b"200 OK", b"Content-Type: text/xml; charset=utf-8", body=body)

    def _context(self, kind: str) -> ssl.SSLContext:
        now = self.now()
        names = ["www.contoso.example"] if kind == "mismatch" else [self.host, *(
            self.names if kind != "no_autodiscover" else ())]
        issuer = {"self_signed": None, "private": self._private}.get(kind, self._intermediate)
        ends = {"expired": timedelta(days=-1), "soon": timedelta(days=12)}.get(kind, timedelta(days=300))
        # Only a public authority says where its own certificate can be had.
        leaf, key = _certificate(names, issuer, now - timedelta(days=90), now + ends, fetched=kind != "private")
        chain = [leaf] if kind in ("self_signed", "private", "no_intermediate") else [leaf, self._intermediate[0]]
        path = self.folder / f"published-{kind}.pem"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()) + b"".join(map(_pem, chain)))
        path.chmod(0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if kind == "old_tls":  # Windows Server 2003 and 2008 without the later updates
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        context.load_cert_chain(path)
        return context


def _response(status: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    lines = (b"HTTP/1.1 " + status, b"Server: Microsoft-IIS/7.0", b"Content-Length: %d" % len(body),
             b"Connection: close", *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _authority(name: str, above: tuple[x509.Certificate, Key] | None, now: datetime) -> tuple[x509.Certificate, Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, above[0].subject if above else subject, key, now - timedelta(days=3650),
                       now + timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(above[1] if above else key, hashes.SHA256()), key


def _certificate(names: Sequence[str], issuer: tuple[x509.Certificate, Key] | None, begins: datetime, ends: datetime, *,
                 fetched: bool) -> tuple[x509.Certificate, Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = _builder(subject, issuer[0].subject if issuer else subject, key, begins, ends)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
    if issuer and fetched:
        builder = builder.add_extension(x509.AuthorityInformationAccess([x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS,
            x509.UniformResourceIdentifier("http://public-root.example/issuing.crt"))]), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, begins: datetime,
             ends: datetime) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
