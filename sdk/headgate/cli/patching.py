"""headgate patch: some fields of a resource are changed, and the others stay."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from headgate.cli import waiting
from headgate.cli.api import AdminApi, ApiError, as_option
from headgate.cli.completion import complete_kind_or_name
from headgate.cli.editing import read_object
from headgate.cli.failure import USAGE, Failure
from headgate.cli.kinds import Kind, find_resource
from headgate.cli.options import (
    DryRunOption,
    ForceOption,
    QuorumOption,
    TimeoutOption,
    WaitOption,
    read_wait,
)
from headgate.cli.render import print_line
from headgate.cli.resources import absent, check_dry_run
from headgate.cli.yaml_values import MalformedYaml


def patch(
    ctx: typer.Context,
    changes: Annotated[
        str,
        typer.Option(
            "--patch",
            "-p",
            metavar="PATCH",
            help="The fields that change, as JSON or YAML; - for standard input.",
        ),
    ],
    what: Annotated[
        list[str] | None, typer.Argument(metavar="KIND NAME", autocompletion=complete_kind_or_name)
    ] = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    quorum: QuorumOption = None,
) -> None:
    """Change some fields of a resource.

    The patch is a merge patch (RFC 7396): null gives a field its default, a list is replaced as a whole, and
    of an object the fields that are named are changed.

    \b
    headgate patch route orders -p '{"timeout": 3.0}'
    headgate patch route orders -p '{"labels": {"team": "shop", "old": null}}'
    headgate patch user jo -p 'disabled: true'
    headgate patch route orders -p 'timeout: 3.0' --dry-run
    """
    waited = read_wait(wait, dry_run, timeout, quorum)
    kind, name = find_resource(what or (), "patch")
    content = _read(sys.stdin.read() if changes == "-" else changes)
    query = {flag: "true" for flag, on in (("dry_run", dry_run), ("force", force)) if on}
    with ctx.obj.api() as api:
        if dry_run:
            check_dry_run(api, "patch", "patch")
        before, now = _patch(api, kind, name, content, query)
        if now == before:
            print_line("Nothing would change" if dry_run else "Nothing changed")
        else:
            print_line(f"{'Would change' if dry_run else 'Changed'} {kind.singular} {name}")
        if waited is not None:
            sys.stdout.flush()
            print_line(waiting.served(waiting.follow(api, int(now.strip('"')), *waited)))


def _patch(api: AdminApi, kind: Kind, name: str, content: bytes, query: Mapping[str, str]) -> tuple[str, str]:
    """The ETags before and after."""
    try:
        _, before = api.read(*kind.path, name)
        return before, api.patch(*kind.path, name, content=content, query=query)
    except ApiError as refused:
        raise absent(api, kind, name) if refused.status == 404 else as_option(refused) from refused


def _read(text: str) -> bytes:
    try:
        return json.dumps(read_object(text)).encode()
    except MalformedYaml as error:
        raise Failure(f"the patch is neither JSON nor YAML: line {error.line}: {error}", USAGE) from error
