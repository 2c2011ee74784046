"""The commands. Each asks the admin API and prints; everything that goes wrong ends in one Failure."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from headgate.cli import certs, configuration, limits, resources, status, tokens
from headgate.cli.api import DEFAULT_URL
from headgate.cli.credentials import Credentials
from headgate.cli.demo import find_demo
from headgate.cli.failure import Failure
from headgate.cli.kinds import KINDS, find_kind, find_resource
from headgate.cli.options import OutputOption, show
from headgate.cli.render import (
    Output,
    print_json,
    print_kind,
    print_line,
    print_yaml,
    without_nothing,
)
from headgate.cli.session import Commands, Session

app = typer.Typer(
    name="headgate",
    cls=Commands,
    help="Operate a Headgate gateway through its admin API.",
    epilog="Begin with: headgate login --demo, or headgate login http://127.0.0.1:8080",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

KIND_HELP = f"One of {', '.join(KINDS)}."


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headgate {metadata.version('headgate-sdk')}")
        raise typer.Exit


@app.callback()
def main(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="HEADGATE_URL", help=f"Admin API. Default: of the last login, else {DEFAULT_URL}"
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(envvar="HEADGATE_CA", help="PEM file of the authority for https.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Operate a Headgate gateway through its admin API."""
    ctx.obj = Session(Credentials(), url, ca)


@app.command()
def login(
    ctx: typer.Context,
    url: Annotated[str | None, typer.Argument(help="Admin API, as for --url.")] = None,
    username: Annotated[str | None, typer.Option("--username", "-u", help="Asked for when left out.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Log in to the running demo, with what .headgate/demo.json says.")
    ] = False,
) -> None:
    """Log in, and keep the tokens in ~/.config/headgate (mode 0600).

    \b
    headgate login --demo
    headgate login http://127.0.0.1:8080 -u admin
    headgate login -u deployer --password-stdin < password.txt
    """
    session: Session = ctx.obj
    if demo:
        url, username, password = find_demo()
    elif password_stdin and username is None:
        raise Failure("--password-stdin needs --username", 2)
    else:
        username = username or typer.prompt("Username")
        password = (
            sys.stdin.readline().rstrip("\r\n")
            if password_stdin
            else typer.prompt("Password", hide_input=True)
        )
    with session.api(url) as api:
        api.login(username, password)
        print_line(f"Logged in at {api.url} as {username}")


@app.command()
def logout(ctx: typer.Context) -> None:
    """End the login: its tokens are of no use any more, wherever they are.

    An access token that was copied lasts a few minutes yet; a new password ends it at once.
    """
    with ctx.obj.api() as api:
        ended = api.logout()
        print_line(f"Logged out at {api.url}" if ended else f"Not logged in at {api.url}")


app.command()(configuration.apply)
app.command()(configuration.diff)
app.command()(configuration.history)
app.command()(configuration.rollback)
app.command("drain")(configuration.drain_instance)


@app.command()
def get(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help=KIND_HELP)],
    name: Annotated[str | None, typer.Argument(help="All of the kind when left out.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show resources, or what the data planes report.

    YAML comes as a document that `apply` takes back; JSON as the API answers it.

    \b
    headgate get routes
    headgate get service orders -o yaml
    headgate get instances
    headgate get dataplanes -o json
    """
    meant = find_kind(kind)
    with ctx.obj.api() as api:
        rows = resources.fetch(api, meant, name)
    if output is Output.TABLE:
        print_kind(meant, rows)
    elif output is Output.YAML:
        print_yaml({meant.section or meant.plural: without_nothing(rows)})
    else:
        print_json(rows if name is None else rows[0])


@app.command()
def delete(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(metavar="KIND NAME", help=KIND_HELP)],
) -> None:
    """Delete a resource. What is still used by another one is refused.

    \b
    headgate delete route orders
    """
    meant, name = find_resource(what, "delete")
    with ctx.obj.api() as api:
        resources.delete(api, meant, name)
    print_line(f"Deleted {meant.singular} {name}")


@app.command("status")
def show_status(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show the control plane, its data planes, services and circuits.

    \b
    headgate status
    headgate status -o json
    """
    with ctx.obj.api() as api:
        seen = status.collect(api)
    show(output, seen, lambda: status.print_status(seen))


app.add_typer(tokens.app, name="token")
app.add_typer(certs.app, name="certs")

store = typer.Typer(cls=Commands, rich_markup_mode=None)
app.add_typer(store, name="store")


@store.callback(invoke_without_command=True)
def show_store(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show whether what the store (etcd) holds is published, or let it be.

    A store that was wiped, restored from a copy or replaced is not published: data planes keep the last good
    configuration until somebody confirms.

    \b
    headgate store
    headgate store confirm
    """
    if ctx.invoked_subcommand is None:
        with ctx.obj.api() as api:
            seen = api.get("store")
        show(output, seen, lambda: status.print_store(seen))


@store.command()
def confirm(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Publish what the store holds now, whatever that is.

    \b
    headgate store
    headgate store confirm
    """
    with ctx.obj.api() as api:
        seen = api.get("store")
        status.print_store(seen)
        if not yes:
            typer.confirm("Let every data plane take what the store holds?", abort=True)
        receipt = api.post("store", "confirm")
    print_line(f"Confirmed: published from revision {receipt['revision']} on")


circuits = typer.Typer(cls=Commands, rich_markup_mode=None)
app.add_typer(circuits, name="circuits")
app.add_typer(limits.app, name="limits")


@circuits.callback(invoke_without_command=True)
def show_circuits(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show the circuit breaker of every service, or reset one.

    \b
    headgate circuits
    headgate circuits reset payments
    """
    if ctx.invoked_subcommand is None:
        get(ctx, "circuits", None, output)


@circuits.command()
def reset(ctx: typer.Context, service: Annotated[str, typer.Argument(help="Name of the service.")]) -> None:
    """Close the breaker of a service on every data plane.

    \b
    headgate circuits reset payments
    """
    with ctx.obj.api() as api:
        resources.reset_circuit(api, service)
    print_line(f"Circuit of {service} is reset; data planes follow within a second")
