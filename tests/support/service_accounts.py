"""A cluster that signs service-account tokens, as kubelet puts them into pods, and an API server with its keys."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from controlplane.identity import ClusterKeys, ServiceAccounts
from tests.support.certificates import Authority

ISSUER = "https://kubernetes.default.svc.cluster.local"
MEDIA_TYPE = "application/jwk-set+json"
OWN_TOKEN_AUDIENCE = "https://kubernetes.default.svc"


@dataclass
class Cluster:
    """Signs tokens with its newest key, and publishes all of them."""

    issuer: str = ISSUER
    keys: list[RSAKey | ECKey] = field(default_factory=lambda: [rsa("one")])
    reads: int = 0
    """Readings of the keys."""
    failure: Exception | None = None

    def jwks(self) -> bytes:
        """The published keys."""
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()

    async def fetch(self) -> tuple[bytes, str]:
        """The keys and the issuer, for a verifier in this process."""
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return self.jwks(), self.issuer

    def token(
        self, account: str = "shop/stock", *, now: float | None = None, ttl: float = 3600, **claims: Any
    ) -> str:
        """A projected token for the audience headgate. Other claims replace its own; None leaves one out."""
        issued = int(time.time() if now is None else now)
        namespace, _, name = account.partition("/")
        made = {
            "aud": ["headgate"],
            "exp": issued + ttl,
            "iat": issued,
            "iss": self.issuer,
            "jti": "8c1d9d0b-5c5c-4d0c-9a94-1b0c3b1c8a11",
            "kubernetes.io": {
                "namespace": namespace,
                "pod": {"name": f"{name}-7d4f8", "uid": "5b0f"},
                "serviceaccount": {"name": name, "uid": "9a1e"},
            },
            "nbf": issued,
            "sub": f"system:serviceaccount:{namespace}:{name}",
            **claims,
        }
        key = self.keys[-1]
        header = {"alg": "RS256" if isinstance(key, RSAKey) else "ES256", "kid": key.kid}
        given = {name: value for name, value in made.items() if value is not None}
        return jwt.encode(header, given, key, algorithms=["RS256", "ES256"])


def rsa(kid: str) -> RSAKey:
    """A new key, as kube-apiserver publishes it."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


def elliptic(kid: str, curve: str = "P-256") -> ECKey:
    """A new key on a curve."""
    return ECKey.generate_key(curve, {"kid": kid, "use": "sig"})


@contextlib.asynccontextmanager
async def verifying(cluster: Cluster, **options: Any) -> AsyncIterator[ServiceAccounts]:
    """A verifier of the cluster's tokens, which reads its keys in this process. `options` go to it."""
    async with following(ClusterKeys(cluster.fetch)) as keys:
        yield ServiceAccounts(keys, "headgate", **options)


@contextlib.asynccontextmanager
async def following(keys: ClusterKeys) -> AsyncIterator[ClusterKeys]:
    """The keys, kept fresh within the block."""
    task = asyncio.create_task(keys.run())
    try:
        yield keys
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass
class KeyServer:
    """The API server of a cluster, as far as it publishes keys to the bearer of `token`."""

    cluster: Cluster
    token: str
    url: str
    status: int = 200
    """The status of every answer."""
    padding: int = 0
    """Bytes that are added to the answer."""
    asked: list[str] = field(default_factory=list)
    """The paths of requests."""

    def answer(self, path: str, authorization: str | None, accept: str | None) -> tuple[int, bytes]:
        """Status and body of a GET."""
        self.asked.append(path)
        if accept != MEDIA_TYPE:
            return 406, b"406: Not Acceptable"
        if authorization != f"Bearer {self.token}":
            return 401, b'{"kind": "Status", "message": "Unauthorized", "code": 401}'
        if self.status != 200:
            return self.status, b'{"kind": "Status", "message": "User \\"gate\\" cannot get path"}'
        if path != "/openid/v1/jwks":
            return 404, b'{"kind": "Status", "message": "not found"}'
        return 200, self.cluster.jwks() + b" " * self.padding


@contextlib.contextmanager
def publishing(cluster: Cluster, authority: Authority) -> Iterator[KeyServer]:
    """The keys of the cluster, over HTTPS on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = served.answer(self.path, self.headers["Authorization"], self.headers["Accept"])
            self.send_response(status)
            self.send_header("Content-Type", MEDIA_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("kubernetes"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    own = cluster.token("headgate/controlplane", aud=[OWN_TOKEN_AUDIENCE])
    served = KeyServer(cluster, own, f"https://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def own_files(server: KeyServer, authority: Authority, folder: Path) -> tuple[Path, Path]:
    """The token and the authority that a control plane's pod has."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(server.token)
    return folder / "token", authority.certificate
