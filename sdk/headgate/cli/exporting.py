"""headgate export and headgate schema: the configuration as a file, and what editors need to check such files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Annotated, Any

import typer

from headgate.cli.api import AdminApi, ApiError
from headgate.cli.failure import USAGE, Failure
from headgate.cli.options import OutputOption
from headgate.cli.render import Output, print_json, print_yaml, printable, without_nothing
from headgate.cli.resources import fetch_all
from headgate.cli.variables import escape_all

_NOT_SENT = ("not_after",)
"""Fields that the control plane computes."""
_SECRETS: Mapping[str, tuple[str, str]] = {
    "users": ("username", "password"),
    "certificates": ("name", "private_key"),
}
"""Fields that are never shown: by section the field with the name, and the secret one."""


def export(
    ctx: typer.Context,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            "-l",
            help="Only resources with this label, NAME=VALUE or NAME. Several must all match.",
        ),
    ] = None,
    output: OutputOption = Output.YAML,
) -> None:
    """Write the configuration as one file, for `apply` and `sync`.

    The file is of one moment. Applied to the same store it changes nothing, and in an empty one it makes the same
    configuration. Passwords and private keys are never shown: a comment names them, and those in the store stay.

    \b
    headgate export > configuration.yaml
    headgate export --label team=shop > shop.yaml
    headgate export -o json
    """
    if output is Output.TABLE:
        raise Failure("an export is YAML or JSON", USAGE)
    with ctx.obj.api() as api:
        document = _read(api, label or ())
    if output is Output.JSON:
        print_json(document)
        return
    sys.stdout.write("".join(f"# {line}".rstrip() + "\n" for line in _head(document)))
    print_yaml(document)


def _read(api: AdminApi, labels: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    try:
        found = api.get("config", query={"label": labels} if labels else None)
    except ApiError as refused:
        if refused.status != 404:
            raise
        # An older control plane: one kind after the other.
        found = fetch_all(api, labels)
    return exported(found)


def exported(document: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The document as it is written: without what is computed, and with each $ that would begin a variable doubled."""
    return {section: list(map(_exported, rows)) for section, rows in document.items() if rows}


def _exported(row: Mapping[str, Any]) -> Any:
    kept = {name: value for name, value in row.items() if name not in _NOT_SENT}
    return escape_all(without_nothing(kept))


def _head(document: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    yield "Exported by `headgate export`."
    secrets = [
        f"{secret} of {section[:-1]} {printable(str(row[key]))}"
        for section, (key, secret) in _SECRETS.items()
        for row in document.get(section) or ()
        if not row.get("files")  # data planes have the key of such a certificate
    ]
    if secrets:
        yield "Secrets are never shown. If the file is applied, those in the store stay; a new store needs them:"
        yield from (f"  {secret}" for secret in secrets)


def schema() -> None:
    """Print the JSON schema of configuration files, for editors.

    It has every kind with its fields, and belongs to this version of the command line.

    \b
    headgate schema > headgate.schema.json
    """
    sys.stdout.write(resources.files("headgate.cli").joinpath("schema.json").read_text(encoding="utf-8"))
