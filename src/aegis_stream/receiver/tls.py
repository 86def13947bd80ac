"""Makes a certificate for the reference receiver: a private authority and a server certificate signed by it.

Used by server.py. Users set a destination's `ca_certificate` to the certificate of the authority.
"""

import datetime as dt
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = dt.timedelta(days=730)
RENEW_BEFORE = dt.timedelta(days=7)
"""A certificate that expires within this time is replaced at the start, so that it does not expire during a run."""

_HOSTS = ("127.0.0.1", "::1", "localhost")
_CLOCK_SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of the files.

    Args:
        ca_certificate: PEM of the authority, which clients must trust.
        chain: PEM of the server certificate.
        key: PEM of the server's private key, readable by its owner only.
    """

    ca_certificate: Path
    chain: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS 1.2+ context of a server with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.chain, self.key)
        return context


def ensure_certificate(directory: Path, now: dt.datetime) -> Certificate:
    """Return the certificate in a directory; if there is none, or it is not usable, make one.

    The private key of the authority is never written, so that nobody can sign another certificate with it. Therefore a
    new server certificate needs a new authority, once in two years.

    Args:
        directory: created if it is missing, readable by its owner only, with a .gitignore that keeps it out of git.
        now: the time, with a time zone.
    Returns: a certificate for 127.0.0.1, ::1 and localhost that is valid for at least 7 more days.
    Raises: OSError when the files cannot be written.
    """
    certificate = Certificate(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    if not _is_fit(certificate, now):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(directory / ".gitignore", b"*\n")
        _make(certificate, now)
    return certificate


def _is_fit(certificate: Certificate, now: dt.datetime) -> bool:
    try:
        authority = x509.load_pem_x509_certificate(certificate.ca_certificate.read_bytes())
        leaf = x509.load_pem_x509_certificate(certificate.chain.read_bytes())
        key = load_pem_private_key(certificate.key.read_bytes(), password=None)
        leaf.verify_directly_issued_by(authority)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    belong_together = key.public_key().public_bytes(*spki) == leaf.public_key().public_bytes(*spki)
    lasts = leaf.not_valid_before_utc <= now and now + RENEW_BEFORE < leaf.not_valid_after_utc
    return belong_together and lasts


def _make(certificate: Certificate, now: dt.datetime) -> None:
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name, name = _name("Aegis reference receiver CA"), _name("Aegis reference receiver")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    leaf = (
        _builder(name, authority_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in _HOSTS]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(certificate.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write(certificate.chain, leaf.public_bytes(Encoding.PEM))
    _write(certificate.ca_certificate, authority.public_bytes(Encoding.PEM))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes) -> None:
    # Written beside the target and renamed, so that nobody reads half a file, also after a crash; mode 0600 from the start.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)
