"""The commands login, logout and whoami."""

from __future__ import annotations

import getpass
import sys
import time
import warnings
from typing import Annotated, Any

import typer

from headgate.cli.api import AdminApi, ApiError, Unreachable, claims
from headgate.cli.demo import find_demo
from headgate.cli.failure import USAGE, Failure
from headgate.cli.options import OutputOption, show
from headgate.cli.render import Output, print_line
from headgate.cli.session import Session


def login(
    ctx: typer.Context,
    url: Annotated[str | None, typer.Argument(help="Admin API, as for --url.")] = None,
    username: Annotated[
        str | None, typer.Option("--username", "-u", help="Prompted for if left out.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Log in to the running demo, with the credentials in .headgate/demo.json."
        ),
    ] = False,
) -> None:
    """Log in, and keep the tokens in ~/.config/headgate (mode 0600).

    The control plane becomes the current context, under the name that --context gives, or else its host and port.

    \b
    headgate login --demo
    headgate login http://127.0.0.1:8080 -u admin
    headgate login https://admin.example.org --context prod --ca ca.pem
    headgate login -u deployer --password-stdin < password.txt
    """
    session: Session = ctx.obj
    name = session.context
    if url is not None:
        # The context may be new: it gets this URL.
        session.context, session.url = None, None
    if demo:
        url, username, password = find_demo()
        name = name or "demo"
        session.context = None
    elif password_stdin and username is None:
        raise Failure("--password-stdin needs --username", USAGE)
    else:
        session.where()  # raises if the context does not exist, before any prompt
        username = username or typer.prompt("Username")
        password = sys.stdin.readline().rstrip("\r\n") if password_stdin else _ask_password()
    with session.api(url, token=False) as api:
        try:
            api.login(username, password)
        except Unreachable as error:
            if not demo:
                raise
            raise Failure(f"the demo does not answer at {api.url}: start it with `make demo`") from error
        session.remember(api.url, name)
        print_line(f"Logged in at {api.url} as {username}")


def _ask_password() -> str:
    with warnings.catch_warnings():
        # getpass would go on, and show what is typed.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return str(typer.prompt("Password", hide_input=True))
        except getpass.GetPassWarning as error:
            told = "there is no terminal to ask for the password: give --password-stdin"
            raise Failure(told, USAGE) from error


def logout(ctx: typer.Context) -> None:
    """End the login.

    Control planes refuse its tokens at once. Data planes accept a copied access token for a few more
    minutes; a new password ends it at once.

    \b
    headgate logout
    headgate logout --context prod
    """
    with ctx.obj.api() as api:
        ended = api.logout()
        print_line(f"Logged out at {api.url}" if ended else f"Not logged in at {api.url}")


def whoami(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show the user, the control plane and the scopes of the login.

    \b
    headgate whoami
    headgate whoami --context prod -o json
    """
    with ctx.obj.api() as api:
        seen = _whoami(ctx.obj, api)
    show(output, seen, lambda: _print_whoami(seen))


def _whoami(session: Session, api: AdminApi) -> dict[str, Any]:
    token, username, expires = api.present()
    said = claims(token)
    username = username or str(said.get("sub", ""))
    scopes, disabled = list(said.get("scopes") or ()), False
    try:
        user = api.get("config", "users", username)
        # The scopes are those that both the user and the token have.
        scopes = [scope for scope in user["scopes"] if not said or scope in scopes]
        disabled = bool(user.get("disabled"))
    except ApiError as refused:
        if refused.status not in (403, 404):
            raise
    contexts = session.credentials.contexts.values()
    return {
        "username": username,
        "url": api.url,
        "context": next((context.name for context in contexts if context.url == api.url), None),
        "scopes": scopes,
        "disabled": disabled,
        "login": "HEADGATE_TOKEN" if not expires else "stored",
        "access_token_seconds": max(0, round((expires or said.get("exp", 0)) - time.time())),
    }


def _print_whoami(seen: dict[str, Any]) -> None:
    at = f"{seen['url']} (context {seen['context']})" if seen["context"] else seen["url"]
    print_line((seen["username"], "bold"), f" at {at}{', disabled' if seen['disabled'] else ''}")
    print_line(f"Scopes: {', '.join(seen['scopes']) or 'none'}")
    minutes = f"{seen['access_token_seconds'] / 60:.0f} min"
    renewed = ", then it is renewed" if seen["login"] == "stored" else " (from HEADGATE_TOKEN)"
    print_line(f"Access token: valid for {minutes}{renewed}")
