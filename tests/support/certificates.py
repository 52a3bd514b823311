"""A private authority, another one, and certificates of a database server at 127.0.0.2."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.2"
"""MariaDB's newer programs check nothing at 127.0.0.1."""


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def write(self, folder: Path) -> None:
        """Puts both where the server looks for them."""
        (folder / "server.pem").write_text(self.pem)
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / "server.key").write_bytes(key)


def _issue(name: str, by: Issued | None = None, *, host: str = HOST, days: int = 2) -> Issued:
    """An authority; or, `by` one, a server's certificate for the host."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    building = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if by:
        named: x509.GeneralName = (
            x509.IPAddress(ipaddress.ip_address(host))
            if host[0].isdecimal()
            else x509.DNSName(host)
        )
        building = building.add_extension(x509.SubjectAlternativeName([named]), critical=False)
    return Issued(building.sign(by.key if by else key, hashes.SHA256()), key)


AUTHORITY = _issue("an authority of ours")
FOREIGN = _issue("an authority of somebody's")
CERTIFICATES = {
    "good": _issue("database", AUTHORITY),
    "for another host": _issue("database", AUTHORITY, host="db.example.com"),
    "expired": _issue("database", AUTHORITY, days=-1),
    "of another authority": _issue("database", FOREIGN),
}
