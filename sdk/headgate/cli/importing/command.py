"""headgate import: configuration files of other products as one file of Headgate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from headgate.cli.failure import FAILED, Failure
from headgate.cli.importing import ingress, kong, openapi
from headgate.cli.importing.draft import Resources
from headgate.cli.importing.notes import Note, WrongFormat
from headgate.cli.render import print_yaml, printable
from headgate.cli.sources import read_sources
from headgate.cli.variables import escape_all

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The file; - is standard input.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 1 if something is left out.")]
HttpPortOption = Annotated[
    int | None,
    typer.Option(
        "--http-port",
        metavar="PORT",
        min=1,
        max=65_535,
        help="Redirect from http to https on this port, by a listener of its own.",
    ),
]
Translated = tuple[Resources, Sequence[Note]]


@app.callback()
def importing() -> None:
    """Translate files of Kong, OpenAPI or Ingress, for `apply`.

    The result goes to standard output, and what was left out or changed, with its place, to standard error.
    """


@app.command("openapi")
def import_openapi(
    file: FileArgument,
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="NAME", help="Name of the service. Default: of the title."),
    ] = None,
    prefix: Annotated[
        str,
        typer.Option("--prefix", help="Serve the API below this path; the service does not see it."),
    ] = "",
    strict: StrictOption = False,
) -> None:
    """Translate a description of OpenAPI 3.0 or 3.1.

    Its first server becomes a service, its paths and methods routes, and its OAuth 2.0 scopes those of the routes.

    \b
    headgate import openapi shop-openapi.yaml > shop.yaml
    headgate import openapi shop-openapi.yaml --service shop --prefix /shop | headgate apply -f - --dry-run
    """
    _run(file, strict, lambda found: openapi.translate(_only(found), service, prefix))


@app.command("kong")
def import_kong(file: FileArgument, http_port: HttpPortOption = None, strict: StrictOption = False) -> None:
    """Translate a file of decK, with `_format_version: "3.0"`.

    Services with their upstreams and targets become services, the paths of their routes routes, and plugins fields
    of routes.

    \b
    headgate import kong kong.yaml > gateway.yaml
    headgate import kong kong.yaml --http-port 8080 --strict > gateway.yaml
    """
    _run(file, strict, lambda found: kong.translate(_only(found), http_port))


@app.command("ingress")
def import_ingress(
    file: FileArgument, http_port: HttpPortOption = None, strict: StrictOption = False
) -> None:
    """Translate Ingress objects of networking.k8s.io/v1, with annotations of ingress-nginx.

    The file may hold several documents, or a list as `kubectl get ingress -o yaml` prints it. Backends become
    services with the DNS name of their Service.

    \b
    headgate import ingress ingress.yaml > gateway.yaml
    headgate import ingress ingress.yaml --http-port 8080 --strict > gateway.yaml
    """
    _run(file, strict, lambda found: ingress.translate(found, http_port))


def _run(file: str, strict: bool, translate: Callable[[list[object]], Translated]) -> None:
    source = next(iter(read_sources([file])))
    try:
        resources, notes = translate([one for one in source.documents() if one is not None])
    except WrongFormat as error:
        raise Failure(f"{source.name}: {error}") from error
    print_yaml(escape_all(resources))
    for note in notes:
        sys.stderr.write(printable(str(note)) + "\n")
    if strict and any(note.left_out for note in notes):
        raise typer.Exit(FAILED)


def _only(documents: list[object]) -> object:
    if len(documents) != 1:
        raise WrongFormat("must hold exactly one document")
    return documents[0]
