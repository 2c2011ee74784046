"""headgate token: credentials for services."""

from __future__ import annotations

from json import dumps
from typing import Annotated

import typer

from headgate.cli.render import print_json
from headgate.cli.session import Commands, Session

app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Make credentials for services.",
)

DAY = 86_400


@app.callback()
def tokens() -> None:
    """Make credentials for services."""


@app.command()
def service(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the service.")],
    days: Annotated[
        float, typer.Option(min=0.001, max=366, help="How long it is valid; it cannot be taken back.")
    ] = 90,
    json: Annotated[bool, typer.Option("--json", help="Tell also when it expires.")] = False,
) -> None:
    """Make a token with which one service, and no other, registers its instances.

    It is printed and kept nowhere. Services read it from HEADGATE_TOKEN, or from the file that HEADGATE_TOKEN_FILE
    names, as often as it changes.

    \b
    headgate token service orders > orders.token
    headgate token service orders --days 7 > orders.token
    """
    session: Session = ctx.obj
    with session.api() as api:
        asked = {"service_name": name, "ttl": int(days * DAY)}
        made = api.post("auth", "service-token", content=dumps(asked).encode())
    if json:
        print_json(made)
    else:
        # As it is: render would wrap it.
        typer.echo(made["token"])
