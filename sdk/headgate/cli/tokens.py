"""headgate token: credentials for services and data planes."""

from __future__ import annotations

from json import dumps
from typing import Annotated, Any

import typer

from headgate.cli.api import AdminApi, ApiError
from headgate.cli.completion import complete_service
from headgate.cli.render import print_json
from headgate.cli.session import Session, shared
from headgate.cli.spelling import meant

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Make credentials for services and data planes.",
)

DAY = 86_400

Days = Annotated[float, typer.Option(min=0.001, max=366, help="Days of validity; a token cannot be revoked.")]
Json = Annotated[bool, typer.Option("--json", help="Also print the expiry.")]


@app.callback()
def tokens() -> None:
    """Make credentials for services and data planes."""


@app.command()
@shared
def service(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the service.", autocompletion=complete_service)],
    days: Days = 90,
    json: Json = False,
) -> None:
    """Make a token for the instances of one service.

    No other service can register with it. The service need not exist yet; then a note on standard error says so. The
    token is printed and not stored. Services read it from HEADGATE_TOKEN, or from the file that HEADGATE_TOKEN_FILE
    names, which is read again when it changes.

    \b
    headgate token service orders > orders.token
    headgate token service orders --days 7 > orders.token
    """
    session: Session = ctx.obj
    with session.api() as api:
        asked = {"service_name": name, "ttl": int(days * DAY)}
        made = api.post("auth", "service-token", content=dumps(asked).encode())
        _note_unknown(api, name)
    _print(made, json=json)


@app.command()
@shared
def dataplane(
    ctx: typer.Context,
    pool: Annotated[str, typer.Argument(help="Name of the pool.")],
    node: Annotated[str, typer.Option("--node", help="Only for the data plane of this NODE.")] = "",
    days: Days = 90,
    json: Json = False,
) -> None:
    """Make a token for the data planes of one pool.

    They are sent the configuration of that pool only. Until the pool exists, the token is refused; then a note on
    standard error says so. The token is printed and not stored. Data planes read it from DATAPLANE_TOKEN, or from the
    file that DATAPLANE_TOKEN_FILE names, which is read again for every connection.

    \b
    headgate token dataplane edge > edge.token
    headgate token dataplane edge --node gw-1 --days 7 > gw-1.token
    """
    session: Session = ctx.obj
    with session.api() as api:
        asked = {"pool": pool, "ttl": int(days * DAY), **({"node": node} if node else {})}
        made = api.post("auth", "dataplane-token", content=dumps(asked).encode())
        _note_no_pool(api, pool)
    _print(made, json=json)


def _print(made: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(made)
    else:
        # Not through render, which would wrap it.
        typer.echo(made["token"])


def _note_no_pool(api: AdminApi, pool: str) -> None:
    """Print a note if there is no such pool."""
    try:
        known = ["default", *(one["name"] for one in api.get("config", "pools"))]
    except ApiError:
        return
    if pool not in known:
        hint = meant(pool, known) or "; its data planes are refused until there is"
        typer.echo(f"headgate: note: there is no pool {pool!r} yet{hint}", err=True)


def _note_unknown(api: AdminApi, name: str) -> None:
    """Print a note if no service has this name, which may be a typing mistake."""
    try:
        known = [service["service_name"] for service in api.get("services")]
    except ApiError:
        return  # a user without the right to read gets no information about services
    if name not in known:
        hint = meant(name, known) or "; the first registration makes it"
        typer.echo(f"headgate: note: there is no service {name!r} yet{hint}", err=True)
