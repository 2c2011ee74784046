"""The commands under their names. Each calls the admin API and prints the answer; every error becomes a Failure."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from headgate.cli import (
    account,
    certs,
    configuration,
    contexts,
    deletion,
    editing,
    events,
    explaining,
    exporting,
    instances,
    limits,
    patching,
    reading,
    reference,
    register,
    resources,
    status,
    syncing,
    tapping,
    tokens,
    top,
)
from headgate.cli.completion import complete_service
from headgate.cli.credentials import Credentials
from headgate.cli.importing import command as importing
from headgate.cli.kinds import KINDS
from headgate.cli.options import OutputOption, show
from headgate.cli.options import confirm as confirmation
from headgate.cli.render import Output, print_line
from headgate.cli.session import (
    CaOption,
    Commands,
    ContextOption,
    Session,
    UrlOption,
    VerboseOption,
    shared,
)

app = typer.Typer(
    name="headgate",
    cls=Commands,
    help="Operate a Headgate gateway through its admin API.",
    epilog=(
        "Begin with: headgate login --demo, or headgate login http://127.0.0.1:8080. "
        "Exit codes: 0 done, 1 failed (diff: there is a difference), 2 wrong usage (diff: failed), "
        "3 written but not served, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headgate {metadata.version('headgate-sdk')}")
        raise typer.Exit


@app.callback()
def main(
    ctx: typer.Context,
    url: UrlOption = None,
    context: ContextOption = None,
    ca: CaOption = None,
    verbose: VerboseOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Operate a Headgate gateway through its admin API."""
    ctx.obj = Session(Credentials())
    ctx.obj.take(url, context, ca, verbose)


app.command()(shared(account.login))
app.command()(shared(account.logout))
app.command()(shared(account.whoami))
app.add_typer(contexts.app, name="context")
app.command()(shared(configuration.apply))
app.command()(shared(syncing.sync))
app.command()(shared(exporting.export))
app.command()(exporting.schema)
app.add_typer(importing.app, name="import")
app.command()(shared(configuration.diff))
app.command()(shared(configuration.history))
app.command()(shared(configuration.rollback))
app.command()(shared(reading.get))
app.command()(shared(reference.reference))
app.command()(shared(editing.edit))
app.command()(shared(patching.patch))
app.command()(shared(deletion.delete))
app.command("instances")(shared(instances.instances))
app.command("drain")(shared(configuration.drain_instance))
app.command()(register.register)


@app.command("status")
@shared
def show_status(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show the control plane, its data planes, services and circuits.

    \b
    headgate status
    headgate status -o json
    """
    with ctx.obj.api() as api:
        seen = status.collect(api)
    show(output, seen, lambda: status.print_status(seen))


app.command()(shared(events.events))
app.command()(shared(top.top))
app.command()(shared(explaining.explain))
app.command()(shared(tapping.tap))
app.add_typer(tokens.app, name="token")
app.add_typer(certs.app, name="certs")

store = typer.Typer(rich_markup_mode=None)
app.add_typer(store, name="store")


@store.callback(invoke_without_command=True)
@shared
def show_store(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show whether the content of the store (etcd) is published.

    A store that was wiped, restored from a copy or replaced is not published: data planes keep the last good
    configuration until an operator confirms it.

    \b
    headgate store
    headgate store confirm
    """
    if ctx.invoked_subcommand is None:
        with ctx.obj.api() as api:
            seen = api.get("store")
        show(output, seen, lambda: status.print_store(seen))


@store.command()
@shared
def confirm(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Publish the current content of the store, even if it is empty.

    \b
    headgate store
    headgate store confirm
    """
    with ctx.obj.api() as api:
        seen = api.get("store")
        status.print_store(seen)
        confirmation("Let every data plane take what the store holds?", yes=yes)
        receipt = api.post("store", "confirm")
    print_line(f"Confirmed: published from revision {receipt['revision']} on")


circuits = typer.Typer(rich_markup_mode=None)
app.add_typer(circuits, name="circuits")
app.add_typer(limits.app, name="limits")


@circuits.callback(invoke_without_command=True)
@shared
def show_circuits(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show the circuit breaker of every service, or reset one.

    \b
    headgate circuits
    headgate circuits reset payments
    """
    if ctx.invoked_subcommand is None:
        kind = KINDS["circuits"]
        with ctx.obj.api() as api:
            rows = resources.fetch(api, kind, None)
        reading.print_resources(kind, rows, output, one=False)


@circuits.command()
@shared
def reset(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(help="Name of the service.", autocompletion=complete_service)],
) -> None:
    """Close the breaker of a service on every data plane.

    \b
    headgate circuits reset payments
    """
    with ctx.obj.api() as api:
        resources.reset_circuit(api, service)
    print_line(f"Circuit of {service} is reset; data planes follow within a second")
