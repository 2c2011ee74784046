"""Certificates, tokens and kubeconfig files of a cluster that lives for one run."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.certificates import Authority
from tests.support.kubernetes.network import API_PORT, API_SERVICE, NODE, NODES

USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    **{node.name: (f"system:node:{node.name}", "system:nodes") for node in NODES},
}
"""User and group by program, and by node for kubelet: those that the built-in roles name."""
HOSTS = (NODE, API_SERVICE, "127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Paths of files; kubeconfig files are by the names of USERS."""

    authority: Path
    certificate: Path
    key: Path
    service_accounts: Path
    """The key that signs tokens of service accounts."""
    service_accounts_public: Path
    """A certificate with its public key: the API server reads none from a private one in PKCS #8."""
    tokens: Path
    kubeconfigs: dict[str, Path]


def make(folder: Path) -> Credentials:
    """Make all of them in `folder`."""
    authority = Authority(folder, "cluster of the tests")
    certificate, key = authority.issue("kube-apiserver", hosts=HOSTS)
    public, private = authority.issue("service-accounts")
    tokens = {name: secrets.token_hex(16) for name in USERS}
    table = folder / "tokens.csv"
    table.write_text(token_table(tokens))
    kubeconfigs = {}
    for name, token in tokens.items():
        kubeconfigs[name] = folder / f"{name}.kubeconfig"
        kubeconfigs[name].write_text(json.dumps(kubeconfig(token, authority.certificate.read_text())))
        kubeconfigs[name].chmod(0o600)
    return Credentials(authority.certificate, certificate, key, private, public, table, kubeconfigs)


def token_table(tokens: dict[str, str]) -> str:
    """The API server's table: token, user, uid and, quoted, the group."""
    rows = []
    for name, token in tokens.items():
        user, group = USERS[name]
        rows.append(f"{token},{user},{name}" + (f',"{group}"' if group else ""))
    return "\n".join(rows) + "\n"


def kubeconfig(token: str, authority: str) -> dict[str, Any]:
    """A kubeconfig, which may be JSON, with the certificate in it: helm and kubectl need no other file."""
    cluster = {
        "server": f"https://{NODE}:{API_PORT}",
        "certificate-authority-data": base64.b64encode(authority.encode()).decode(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "current-context": "tests",
    }
