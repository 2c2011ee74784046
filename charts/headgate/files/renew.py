"""Renew the certificates that the chart has generated: `renew.py GROUPS.json DAYS RENEW_DAYS`, in a pod.

Every certificate that is valid for fewer than RENEW_DAYS gets a successor of the same names and authority, valid for
DAYS. Processes use it for new connections as soon as kubelet has updated their files.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EARLIER = timedelta(minutes=5)
"""Certificates become valid some time before now, because clocks differ."""

Secret = dict[str, Any]


@dataclass(frozen=True)
class Api:
    """The Secrets of one namespace in the Kubernetes API."""

    url: str
    namespace: str
    token: str
    tls: ssl.SSLContext | None = None

    @classmethod
    def of_this_pod(cls) -> Api:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        named = f"[{host}]" if ":" in host else host
        namespace, token = ((ACCOUNT / name).read_text().strip() for name in ("namespace", "token"))
        tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        return cls(f"https://{named}:{port}", namespace, token, tls)

    def get(self, name: str) -> Secret:
        """A Secret by its name."""
        return self._ask("GET", name)

    def write(self, secret: Secret) -> None:
        """Write a Secret in its owner's name: fields of another's, Helm 4 and Flux do not change later."""
        owner = applied_by(secret)
        kind = "apply-patch+yaml" if owner else "merge-patch+json"
        query = f"?fieldManager={quote(owner)}&force=true" if owner else "?fieldManager=helm"
        self._ask("PATCH", secret["metadata"]["name"] + query, json.dumps(applied(secret)).encode(), kind)

    def _ask(self, method: str, name: str, body: bytes | None = None, kind: str = "json") -> Secret:
        url = f"{self.url}/api/v1/namespaces/{self.namespace}/secrets/{name}"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": f"application/{kind}"}
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  # of this pod's API
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self.tls))
        with urllib.request.build_opener(*handlers).open(request, timeout=30) as answer:
            found: Secret = json.load(answer)
            return found


def applied_by(secret: Secret) -> str | None:
    """The manager that made the Secret by server-side apply; None if it was made by other requests."""
    entries = secret["metadata"].get("managedFields", [])
    owners = [each for each in entries if each["operation"] == "Apply" and "f:data" in each["fieldsV1"]]
    return str(owners[0]["manager"]) if owners else None


def applied(secret: Secret) -> Secret:
    """The fields that Helm sets. Server-side apply removes what its manager leaves out."""
    metadata = {key: secret["metadata"][key] for key in ("name", "labels", "annotations")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": secret["type"],
        "metadata": metadata,
        "data": secret["data"],
    }


def renew(api: Api, groups: list[dict[str, Any]], days: int, renew_days: int, now: datetime) -> None:
    """Renew what is due; a line for each certificate."""
    for group in groups:
        authority = api.get(group["ca"])
        for leaf in group["leaves"]:
            secret = api.get(leaf["name"])
            present = x509.load_pem_x509_certificate(value(secret, "tls.crt"))
            left = (present.not_valid_after_utc - now).days
            if left <= renew_days:
                end = now + timedelta(days=days)
                data, annotations = successor(authority, leaf, now, end)
                secret["data"] |= data
                secret["metadata"]["annotations"] |= annotations
                api.write(secret)
                print(f"{leaf['name']}: renewed, valid until {end:%Y-%m-%d}")
            else:
                print(f"{leaf['name']}: valid for {left} days")


def successor(
    authority: Secret, leaf: dict[str, Any], now: datetime, end: datetime
) -> tuple[dict[str, str], dict[str, str]]:
    """Data and annotations of a Secret for a new certificate with the names of `leaf`."""
    signer = serialization.load_pem_private_key(value(authority, "tls.key"), None)
    assert isinstance(signer, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    made = _builder(leaf, now, end).public_key(key.public_key())
    issuer = x509.load_pem_x509_certificate(value(authority, "tls.crt")).subject
    certificate = made.issuer_name(issuer).sign(signer, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    data = {"tls.crt": base64.b64encode(public).decode(), "tls.key": base64.b64encode(private).decode()}
    # By it, upgrades of the release know how long the certificate is valid.
    return data, {"headgate/not-after": str(int(end.timestamp()))}


def _builder(leaf: dict[str, Any], now: datetime, end: datetime) -> x509.CertificateBuilder:
    names: list[x509.GeneralName] = [x509.DNSName(each) for each in leaf["dns"]]
    names += [x509.IPAddress(ip_address(each)) for each in leaf["ips"]]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, leaf["dns"][0][:64])]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    )


def value(secret: Secret, name: str) -> bytes:
    """One value of a Secret."""
    return base64.b64decode(secret["data"][name])


if __name__ == "__main__":
    renew(
        Api.of_this_pod(),
        json.loads(Path(sys.argv[1]).read_text()),
        int(sys.argv[2]),
        int(sys.argv[3]),
        datetime.now(UTC),
    )
