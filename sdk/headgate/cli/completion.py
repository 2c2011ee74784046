"""Completion in the shell: kinds, names known to the control plane, and contexts. It fails silently."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from headgate.cli import resources
from headgate.cli.credentials import Credentials
from headgate.cli.failure import Failure
from headgate.cli.kinds import ALL, KINDS, Kind, find_kind
from headgate.cli.session import Session

WITHIN = 2.0
"""Seconds to wait for the control plane after a press of Tab."""


def complete_kind(incomplete: str) -> list[str]:
    """Kinds that `get` knows."""
    return _starting([ALL, *KINDS], incomplete)


def complete_written_kind(incomplete: str) -> list[str]:
    """Kinds that can be written."""
    return _starting([kind.singular for kind in KINDS.values() if kind.writable], incomplete)


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the kind before it on the command line."""
    kind = ctx.params.get("kind")
    return _names(ctx, str(kind), incomplete) if kind else []


def complete_kind_or_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """A kind, or names after a kind."""
    before = ctx.params.get("what") or ()
    return _names(ctx, str(before[0]), incomplete) if before else complete_written_kind(incomplete)


def complete_service(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of services."""
    return _names(ctx, "services", incomplete)


def complete_limit(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of rate limits."""
    return _names(ctx, "rate-limits", incomplete)


def complete_node(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of data planes."""
    return _names(ctx, "dataplanes", incomplete)


def complete_instance(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the instances of the service before it on the command line."""
    with contextlib.suppress(Failure):
        rows = _fetched(ctx, KINDS["instances"])
        mine = (row for row in rows if row["service_name"] == ctx.params.get("service"))
        return _starting((row["instance_id"] for row in mine), incomplete)
    return []


def complete_context(incomplete: str) -> list[str]:
    """Names of contexts."""
    with contextlib.suppress(Failure):
        return _starting(Credentials().contexts, incomplete)
    return []


def _names(ctx: typer.Context, kind: str, incomplete: str) -> list[str]:
    with contextlib.suppress(Failure):
        meant = find_kind(kind)
        return _starting((row[meant.key] for row in _fetched(ctx, meant)), incomplete)
    return []


def _fetched(ctx: typer.Context, kind: Kind) -> list[dict[str, Any]]:
    session = Session(Credentials())
    for params in (ctx.find_root().params, ctx.params):
        ca = params.get("ca")
        session.take(params.get("url"), params.get("context"), Path(ca) if ca else None, verbose=False)
    with session.api() as asked:
        asked.limit(WITHIN)
        return resources.fetch(asked, kind, None)


def _starting(words: Iterable[str], incomplete: str) -> list[str]:
    return sorted(word for word in words if str(word).startswith(incomplete))
