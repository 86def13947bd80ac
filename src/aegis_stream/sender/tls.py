"""Trust: one SSLContext per set of certificate authorities.

Called by `pool` when a channel is opened. Verification cannot be turned off; a destination with a private authority sets
that authority instead.
"""

import hashlib
import ssl

from aegis_stream.domain.certificate import certificate_fault
from aegis_stream.errors import FieldProblem, Invalid, Misconfigured

CONTEXTS_MAX = 256
"""Most contexts that are kept for authorities of destinations; each takes 150 KiB at most, so 38 MiB in all."""
ORGANIZATION_CONTEXTS_MAX = 32
"""Most of them of one organization, so that it evicts its own."""


class TrustStore:
    """Makes and caches SSLContexts: TLS 1.2 or newer, certificate and name always verified.

    Args:
        ca_bundle: path of a PEM file with the default authorities, or None for those of the system.
        contexts_max: most contexts kept for destinations' own authorities; the least recently used one is evicted.
        organization_max: most of them of one organization.
    """

    def __init__(
        self,
        ca_bundle: str | None = None,
        *,
        contexts_max: int = CONTEXTS_MAX,
        organization_max: int = ORGANIZATION_CONTEXTS_MAX,
    ) -> None:
        self._ca_bundle = ca_bundle
        self._contexts_max = contexts_max
        self._organization_max = organization_max
        self._usual: ssl.SSLContext | None = None
        self._contexts: dict[tuple[str, bytes], ssl.SSLContext] = {}

    def context(self, ca_certificate: str | None, org_id: str = "") -> ssl.SSLContext:
        """Return the context for a set of authorities, made on first use: 5 ms at most.

        Args:
            ca_certificate: PEM text of the authorities to trust instead of the default ones, or None.
            org_id: the organization whose share of the kept contexts it counts to.
        Raises:
            Invalid: if the text is too long or contains no usable certificate; the problem's field is "ca_certificate".
            Misconfigured: if the default bundle cannot be read.
        """
        if ca_certificate is None:
            if self._usual is None:
                self._usual = self._default()
            return self._usual
        key = (org_id, hashlib.sha256(ca_certificate.encode("utf-8", "surrogatepass")).digest())
        context = self._contexts.get(key) or _private(ca_certificate)
        self._contexts.pop(key, None)
        self._contexts[key] = context  # removed and added again: the dict is in the order of last use
        own = [one for one in self._contexts if one[0] == org_id]
        if len(own) > self._organization_max:
            del self._contexts[own[0]]
        elif len(self._contexts) > self._contexts_max:
            del self._contexts[next(iter(self._contexts))]
        return context

    def _default(self) -> ssl.SSLContext:
        context = _strict()
        try:
            if self._ca_bundle is None:
                context.load_default_certs(ssl.Purpose.SERVER_AUTH)
            else:
                context.load_verify_locations(cafile=self._ca_bundle)
        except (OSError, ValueError) as exc:
            raise Misconfigured(
                f"the bundle of certificate authorities {self._ca_bundle or 'of the system'} cannot be read: "
                "set AEGIS_CA_BUNDLE to a file of PEM certificates"
            ) from exc
        return context


def _strict() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # implies CERT_REQUIRED and check_hostname
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9525 section 2: names are in subjectAltName only
    context.set_alpn_protocols(["http/1.1"])
    return context


def _private(ca_certificate: str) -> ssl.SSLContext:
    if (
        fault := certificate_fault(ca_certificate)
    ) is not None:  # one that was stored before there was a limit
        raise Invalid(f"ca_certificate {fault}", problems=(FieldProblem("ca_certificate", fault),))
    context = _strict()
    # Users often have only the intermediate certificate that signed their server's; trusting it alone is narrower.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=ca_certificate)
        count = context.cert_store_stats()["x509"]
    except (OSError, ValueError, TypeError) as exc:
        raise _unusable() from exc
    if not count:
        raise _unusable()
    return context


def _unusable() -> Invalid:
    message = (
        "is not a PEM certificate: send the text from -----BEGIN CERTIFICATE----- to "
        "-----END CERTIFICATE-----, including both lines"
    )
    return Invalid(f"ca_certificate {message}", problems=(FieldProblem("ca_certificate", message),))
