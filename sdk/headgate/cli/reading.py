"""headgate get: resources, and reports of the data planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from headgate.cli import resources, watching
from headgate.cli.completion import complete_kind, complete_name
from headgate.cli.failure import USAGE, Failure
from headgate.cli.kinds import ALL, KINDS, RESOURCE_KINDS, Kind, find_kind, with_labels
from headgate.cli.options import OutputOption, show
from headgate.cli.render import Output, print_json, print_kind, print_line, print_yaml, without_nothing
from headgate.cli.session import Session
from headgate.cli.variables import escape_all


def get(
    ctx: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            help=f"One of {', '.join(KINDS)}, or all: every resource that can be applied.",
            autocompletion=complete_kind,
        ),
    ],
    name: Annotated[
        str | None, typer.Argument(help="All of the kind when left out.", autocompletion=complete_name)
    ] = None,
    output: OutputOption = Output.TABLE,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            "-l",
            help="Only resources with this label, NAME=VALUE or NAME. Several labels must all match.",
        ),
    ] = None,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="A column with the labels.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Continue with a line for each change, until Ctrl-C.")
    ] = False,
) -> None:
    """Show resources, or reports of the data planes.

    YAML is a document for `apply`; JSON is the API's answer. With --watch, JSON has one object on each line.

    \b
    headgate get routes
    headgate get service orders -o yaml
    headgate get routes -l team=shop --show-labels
    headgate get all -o yaml > backup.yaml
    headgate get instances --watch
    headgate get dataplanes -o json
    """
    if show_labels and output is not Output.TABLE:
        raise Failure(f"--show-labels is a column of the table; -o {output} has the labels", USAGE)
    if kind.lower() == ALL:
        _get_all(ctx.obj, name, output, watch, label or (), show_labels)
        return
    meant = find_kind(kind)
    if show_labels and not meant.writable:
        raise Failure("--show-labels is for resources, which can be applied: other things have none", USAGE)
    meant = with_labels(meant) if show_labels else meant
    if watch and output is Output.YAML:
        raise Failure("--watch prints a table, or with -o json one object a line", USAGE)
    if label and (name is not None or not meant.writable):
        raise Failure("--label chooses from all resources of a kind that can be applied", USAGE)
    with ctx.obj.api() as api:
        if watch:
            asked = resources.fetcher(api, meant, name, label or ())
            watching.watch(asked, meant, as_json=output is Output.JSON)
            return
        rows = resources.fetch(api, meant, name, label or ())
    print_resources(meant, rows, output, one=name is not None)


def _get_all(
    session: Session,
    name: str | None,
    output: Output,
    watch: bool,
    labels: Sequence[str],
    show_labels: bool,
) -> None:
    if name is not None or watch:
        raise Failure(f"{'--watch' if watch else 'a name'} needs one kind: headgate get KIND", USAGE)
    with session.api() as api:
        sections = resources.fetch_all(api, labels)
    if output is Output.YAML:
        print_yaml({section: escape_all(without_nothing(rows)) for section, rows in sections.items() if rows})
    else:
        show(output, sections, lambda: _print_all(sections, show_labels))


def _print_all(sections: dict[str, list[dict[str, Any]]], show_labels: bool) -> None:
    shown = [kind for kind in RESOURCE_KINDS if sections[kind.section]]
    for kind in shown:
        if kind is not shown[0]:
            print_line("")
        print_kind(with_labels(kind) if show_labels else kind, sections[kind.section])


def print_resources(kind: Kind, rows: list[dict[str, Any]], output: Output, *, one: bool) -> None:
    """Resources of one kind; `one`: exactly one was requested."""
    if output is Output.TABLE:
        print_kind(kind, rows)
    elif output is Output.YAML:
        shown = without_nothing(rows)
        # Of a resource it is a file for `apply`, which puts variables in.
        print_yaml({kind.section or kind.plural: escape_all(shown) if kind.writable else shown})
    else:
        print_json(rows[0] if one else rows)
