"""headgate patch: some fields of a resource are changed, and the others stay."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from headgate.cli.api import AdminApi, ApiError, as_option
from headgate.cli.completion import complete_kind_or_name
from headgate.cli.editing import read_object
from headgate.cli.failure import USAGE, Failure
from headgate.cli.kinds import Kind, find_resource
from headgate.cli.options import ForceOption
from headgate.cli.render import print_line
from headgate.cli.resources import absent
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
    force: ForceOption = False,
) -> None:
    """Change some fields of a resource.

    The patch is a merge patch (RFC 7396): null gives a field its default, a list is replaced as a whole, and
    of an object the fields that are named are changed.

    \b
    headgate patch route orders -p '{"timeout": 3.0}'
    headgate patch route orders -p '{"labels": {"team": "shop", "old": null}}'
    headgate patch user jo -p 'disabled: true'
    """
    kind, name = find_resource(what or (), "patch")
    content = _read(sys.stdin.read() if changes == "-" else changes)
    with ctx.obj.api() as api:
        changed = _patch(api, kind, name, content, force)
    print_line(f"Changed {kind.singular} {name}" if changed else "Nothing changed")


def _patch(api: AdminApi, kind: Kind, name: str, content: bytes, force: bool) -> bool:
    try:
        _, before = api.read(*kind.path, name)
        return api.patch(*kind.path, name, content=content, force=force) != before
    except ApiError as refused:
        raise absent(api, kind, name) if refused.status == 404 else as_option(refused) from refused


def _read(text: str) -> bytes:
    try:
        return json.dumps(read_object(text)).encode()
    except MalformedYaml as error:
        raise Failure(f"the patch is neither JSON nor YAML: line {error.line}: {error}", USAGE) from error
