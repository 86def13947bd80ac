"""nginx as the receiver: one worker process that answers 202 and counts.

It counts requests with stub_status. If a request has many events, it counts the bytes of bodies from a log of Content-Length
(all events have the same length, so bytes are events). If a request is one event, it logs only bodies of another length than
an event's: an empty log proves every length, and costs nothing.
"""

import contextlib
import datetime as dt
import ipaddress
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .events import EVENT_BYTES
from .processes import accepts, children, free_port, running, wait_until

CONFIGURATION = """
daemon off;
master_process on;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
user root;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  log_format lengths "$content_length";
  map $content_length $other_length {{ {event_bytes} 0; default 1; }}
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_buffer_size 1m;
  client_max_body_size 16m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server_tokens off;
  tcp_nodelay on;
  server {{
    listen 127.0.0.1:{port} {tls} backlog=4096;
    {certificate}
    location / {{ {log} return 202; }}
  }}
  server {{
    listen 127.0.0.1:{status_port};
    location / {{ stub_status; }}
  }}
}}
"""


@dataclass(slots=True)
class Receiver:
    """A running nginx.

    Args:
        line_bytes: bytes of one event in a body of many, including its separator; 0 if a request is one event.
    """

    port: int
    status_port: int
    url: str
    ca_certificate: Path | None
    pid: int
    folder: Path
    line_bytes: int
    _looks: int = 0
    _status: socket.socket | None = None
    _log_at: int = 0
    _log_bytes: int = 0
    _log_rest: bytes = b""
    requests_logged: int = 0

    def received(self) -> int:
        """Return how many events have arrived so far."""
        return self._by_log() if self.line_bytes else self.requests()

    @property
    def bytes_an_event(self) -> int:
        """Bytes that each event adds to the bodies."""
        return self.line_bytes or EVENT_BYTES

    def body_bytes(self) -> int:
        """Return how many bytes of bodies have arrived so far."""
        if self.line_bytes:
            self._by_log()
            return self._log_bytes
        lengths = (self.folder / "lengths.log").read_text().split()
        others = [int(one) if one.isdigit() else 0 for one in lengths]
        return (self.requests() - len(others)) * EVENT_BYTES + sum(others)

    def requests(self) -> int:
        """Return how many requests have arrived so far, without those that read the counter."""
        if self._status is None:
            self._status = socket.create_connection(("127.0.0.1", self.status_port), 10)
        self._status.sendall(b"GET / HTTP/1.1\r\nHost: nginx\r\n\r\n")
        self._looks += 1
        answer = b""
        while b"Reading:" not in answer:
            piece = self._status.recv(4096)
            if not piece:
                raise ConnectionError("nginx closed the connection of the counter")
            answer += piece
        line = answer.partition(b"server accepts handled requests")[2].split()
        return int(line[2]) - self._looks

    def _by_log(self) -> int:
        with (self.folder / "lengths.log").open("rb") as file:
            file.seek(self._log_at)
            new = file.read()
        self._log_at += len(new)
        whole, _, self._log_rest = (self._log_rest + new).rpartition(b"\n")
        for line in whole.split():
            self._log_bytes += int(line)
            self.requests_logged += 1
        events, rest = divmod(self._log_bytes, self.line_bytes)
        assert rest == 0, f"a body was not a whole number of events: {rest} bytes over"
        return events


@contextlib.contextmanager
def nginx(folder: Path, *, tls: bool = False, line_bytes: int = 0) -> Iterator[Receiver]:
    """Run nginx until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    port, status_port = free_port(), free_port()
    certificate = make_certificate(folder) if tls else None
    log = f"access_log {folder}/lengths.log lengths{'' if line_bytes else ' if=$other_length'};"
    (folder / "lengths.log").touch()
    (folder / "nginx.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            port=port,
            status_port=status_port,
            tls="ssl" if tls else "",
            certificate=f"ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;"
            if tls
            else "",
            log=log,
            event_bytes=EVENT_BYTES,
        )
    )
    command: list[str | Path] = [
        program,
        "-p",
        folder,
        "-c",
        folder / "nginx.conf",
        "-e",
        folder / "error.log",
    ]
    with running(command, log=folder / "nginx.log") as process:
        wait_until("nginx", lambda: process.poll() is not None or accepts(port), 10)
        if process.poll() is not None:
            raise RuntimeError("nginx did not start: " + (folder / "nginx.log").read_text())
        wait_until("nginx's worker", lambda: children(process.pid), 10)
        yield Receiver(
            port,
            status_port,
            f"{'https' if tls else 'http'}://127.0.0.1:{port}/ingest",
            certificate,
            children(process.pid)[0],
            folder,
            line_bytes,
        )


def make_certificate(folder: Path) -> Path:
    """Create an authority and a certificate for 127.0.0.1 (server.pem, server.key); return the authority's file."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Aegis bench authority")])

    def builder(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=7))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    authority = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**{**usage, "key_cert_sign": True, "crl_sign": True}), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    server = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            ),
            critical=False,
        )
        .add_extension(x509.KeyUsage(**{**usage, "digital_signature": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "ca.pem"
