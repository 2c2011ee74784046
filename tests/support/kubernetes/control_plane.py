"""etcd, API server, controller manager and scheduler."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.processes import Etcd, start, wait_or_kill
from tests.support.kubernetes.credentials import Credentials
from tests.support.kubernetes.network import API_PORT, NODE, SERVICES

ISSUER = "https://kubernetes.default.svc"


def apiserver_flags(credentials: Credentials, etcd: str) -> list[str]:
    """Of an API server with tokens from a file, and the usual admission and authorization."""
    return [
        f"--etcd-servers={etcd}",
        f"--advertise-address={NODE}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={credentials.certificate}",
        f"--tls-private-key-file={credentials.key}",
        f"--token-auth-file={credentials.tokens}",
        f"--service-cluster-ip-range={SERVICES}",
        # No resolver knows the node's name: logs and exec go to its address.
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={credentials.service_accounts_public}",
        f"--service-account-signing-key-file={credentials.service_accounts}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]


def controller_manager_flags(credentials: Credentials) -> list[str]:
    """Every controller has a service account of its own, with the rights of its role."""
    return [
        f"--kubeconfig={credentials.kubeconfigs['kube-controller-manager']}",
        f"--service-account-private-key-file={credentials.service_accounts}",
        f"--root-ca-file={credentials.authority}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ]


def scheduler_flags(credentials: Credentials) -> list[str]:
    """One scheduler, so there is no leader to elect."""
    return [
        f"--kubeconfig={credentials.kubeconfigs['kube-scheduler']}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ]


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The processes of the control plane; their logs are in `logs`."""

    tools: Mapping[str, Path]
    credentials: Credentials
    logs: Path
    certificates: Path

    def start(self) -> None:
        """Returns when the API server is ready. The others connect to it when they can."""
        etcd = Etcd()
        etcd.start(self.logs)
        flags = [*apiserver_flags(self.credentials, etcd.url), f"--cert-dir={self.certificates}"]
        server = start("kube-apiserver", [str(self.tools["kube-apiserver"]), *flags], {}, self.logs)
        wait_or_kill(self._ready, server)
        self._start("kube-controller-manager", controller_manager_flags(self.credentials))
        self._start("kube-scheduler", scheduler_flags(self.credentials))

    def _start(self, program: str, flags: list[str]) -> None:
        cert_dir = f"--cert-dir={self.certificates / program}"
        start(program, [str(self.tools[program]), *flags, cert_dir], {}, self.logs)

    def _ready(self) -> bool:
        trusted = ssl.create_default_context(cafile=str(self.credentials.authority))
        answer = httpx.get(f"https://{NODE}:{API_PORT}/readyz", verify=trusted, timeout=5, trust_env=False)
        return answer.status_code == 200
