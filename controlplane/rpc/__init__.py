"""gRPC: the config stream of the data planes, the registry, health. The only package that knows the wire format."""

from __future__ import annotations

from controlplane.rpc.limit_links import LimitLinks
from controlplane.rpc.limit_routes import LimitRoutes
from controlplane.rpc.peer_link import LinkTls, PeerLink
from controlplane.rpc.question_links import QuestionLinks
from controlplane.rpc.questions import Questions
from controlplane.rpc.rules import Rules
from controlplane.rpc.server import CannotListen, RpcServer, serve
from controlplane.rpc.tls import TlsError, TlsFiles

__all__ = [
    "CannotListen",
    "LimitLinks",
    "LimitRoutes",
    "LinkTls",
    "PeerLink",
    "QuestionLinks",
    "Questions",
    "RpcServer",
    "Rules",
    "TlsError",
    "TlsFiles",
    "serve",
]
