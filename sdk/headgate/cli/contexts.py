"""headgate context: names for control planes, and the choice of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.cli.api import normal_url
from headgate.cli.completion import complete_context
from headgate.cli.credentials import Context, Credentials
from headgate.cli.options import OutputOption, show
from headgate.cli.render import Output, print_line, print_table
from headgate.cli.session import shared

app = typer.Typer(rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(help="Name of the context.", autocompletion=complete_context)]


@app.callback(invoke_without_command=True)
@shared
def contexts(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show or change the names of control planes (contexts).

    `headgate login` makes a context, too.

    \b
    headgate context
    headgate context use prod
    headgate context set prod https://admin.example.org --ca ca.pem
    headgate context delete staging
    headgate get routes --context prod
    """
    if ctx.invoked_subcommand is not None:
        return
    known = _listed(ctx.obj.credentials)
    show(output, known, lambda: _print(known))


def _listed(credentials: Credentials) -> list[dict[str, Any]]:
    current = credentials.current
    listed = []
    for context in sorted(credentials.contexts.values(), key=lambda one: one.name):
        login = credentials.find(context.url)
        listed.append(
            {
                "name": context.name,
                "url": context.url,
                "ca": context.ca,
                "username": login.username if login else None,
                "current": context.url == current,
            }
        )
    return listed


def _print(known: list[dict[str, Any]]) -> None:
    print_table(
        ["CURRENT", "CONTEXT", "URL", "USER"],
        [
            ["*" if one["current"] else "", one["name"], one["url"], one["username"] or "(not logged in)"]
            for one in known
        ],
        nothing="no contexts: `headgate login URL` or `headgate context set NAME URL` makes one",
    )


@app.command()
@shared
def use(ctx: typer.Context, name: NameArgument) -> None:
    """Send later commands to this control plane.

    \b
    headgate context use prod
    """
    credentials: Credentials = ctx.obj.credentials
    context = credentials.context(name)
    credentials.use(context.url)
    print_line(f"Commands go to {context.name}, {context.url}")


@app.command("set")
@shared
def set_context(
    ctx: typer.Context,
    name: NameArgument,
    url: Annotated[str, typer.Argument(help="Its admin API.")],
    ca: Annotated[Path | None, typer.Option("--ca", help="PEM file of the authority for https.")] = None,
) -> None:
    """Give a control plane a name, or a name another control plane.

    \b
    headgate context set prod https://admin.example.org --ca ca.pem
    """
    context = Context(name, normal_url(url), str(ca.resolve()) if ca else None)
    ctx.obj.credentials.set_context(context)
    print_line(f"Context {name} is {context.url}")


@app.command()
@shared
def delete(ctx: typer.Context, name: NameArgument) -> None:
    """Delete a context and its login.

    The tokens of the login stay valid: `headgate logout` ends them.

    \b
    headgate context delete staging
    """
    ctx.obj.credentials.remove_context(name)
    print_line(f"Forgot context {name}")
