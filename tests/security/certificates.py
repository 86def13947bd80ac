"""Certificates for the receivers of tests: valid ones, and some that nobody should accept."""

import datetime as dt
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
# Object identifiers of RSA signatures in DER; they have one length, so that one can be put in the other's place.
_SHA256_RSA = bytes.fromhex("2a864886f70d01010b")
_SHA1_RSA = bytes.fromhex("2a864886f70d010105")


@dataclass
class Authority:
    """An authority that signs server certificates.

    Args:
        folder: where the files for the standard library's TLS go.
        name: its common name.
    """

    folder: Path
    name: str = "Authority of the tests"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def pem(self) -> str:
        """Its own certificate, to be trusted."""
        extension = x509.BasicConstraints(ca=True, path_length=None)
        made = _builder(self.name, self.name, self.key).add_extension(extension, critical=True)
        return made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def server_context(
        self, *names: str, days: int = 30, starts_in_days: int = -60, sha1: bool = False, key_bits: int = 2048
    ) -> ssl.SSLContext:
        """Return a TLS server with a certificate of this authority for these names.

        Args:
            days, starts_in_days: the certificate's validity, from now.
            sha1: sign by SHA-1, as nobody may since 2017.
            key_bits: size of the server's RSA key.
        """
        key = rsa.generate_private_key(65537, key_bits)
        builder = _builder("server", self.name, key, days=days, starts_in_days=starts_in_days)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False
        )
        signed = builder.sign(self.key, hashes.SHA256())
        der = _signed_by_sha1(signed, self.key) if sha1 else signed.public_bytes(Encoding.DER)
        path = self.folder / f"server-{len(list(self.folder.iterdir()))}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + ssl.DER_cert_to_PEM_cert(der).encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(
            "ALL:@SECLEVEL=0"
        )  # or the server itself would refuse what the client must refuse
        context.load_cert_chain(path)
        return context


def _builder(
    subject: str, issuer: str, key: rsa.RSAPrivateKey, *, days: int = 30, starts_in_days: int = -60
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts_in_days * DAY)
        .not_valid_after(now + days * DAY)
    )


def _signed_by_sha1(certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> bytes:
    """Sign a certificate again with SHA-1, which our library no longer supports."""
    body = certificate.tbs_certificate_bytes
    weak = body.replace(_SHA256_RSA, _SHA1_RSA, 1)
    signature = key.sign(weak, padding.PKCS1v15(), hashes.SHA1())
    return (
        certificate.public_bytes(Encoding.DER)
        .replace(body, weak)
        .replace(_SHA256_RSA, _SHA1_RSA)
        .replace(certificate.signature, signature)
    )
