"""A throw-away certificate authority for TLS on loopback.

authority = Authority(tmp_path)
server = FaultyServer(tls=authority.server_context("127.0.0.1"))
Transport(ca_file=authority.ca_file)
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority"]


class Authority:
    """Signs certificates for names and addresses; `ca_file` is its own certificate (PEM)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("nbdock's test authority")
        self._cert = self._signed(self._name, self._key.public_key(), (), is_ca=True)
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(_pem(self._cert))

    def issue(self, *names: str) -> tuple[Path, Path]:
        """A certificate for these names and IP addresses; its file, and the key's."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._signed(_name(names[0]), key.public_key(), names, is_ca=False)
        stem = self._directory / names[0].replace(":", "_")
        cert_file, key_file = stem.with_suffix(".cert.pem"), stem.with_suffix(".key.pem")
        cert_file.write_bytes(_pem(cert))
        key_file.write_bytes(private_pem(key))
        return cert_file, key_file

    def server_context(self, *names: str) -> ssl.SSLContext:
        """What a server with such a certificate uses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*names))
        return context

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: tuple[str, ...],
        *,
        is_ca: bool,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            # Python 3.13 insists on these, as RFC 5280 does.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=is_ca,
                    crl_sign=is_ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if names:
            places = x509.SubjectAlternativeName([_place(n) for n in names])
            builder = builder.add_extension(places, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _place(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
