"""What every command shares: which control plane is meant, and how a failure ends."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from headgate.cli.api import DEFAULT_URL, AdminApi
from headgate.cli.credentials import Credentials
from headgate.cli.failure import Failure
from headgate.errors import HeadgateError
from headgate.target import present_token


class Commands(TyperGroup):
    """Turns a Failure into a line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            typer.echo(f"headgate: {failure}", err=True)
            raise typer.Exit(failure.exit_code) from failure


@dataclass(frozen=True, slots=True)
class Session:
    """Which control plane is meant."""

    credentials: Credentials
    url: str | None
    ca: Path | None

    def api(self, url: str | None = None) -> AdminApi:
        """The admin API at the URL that was given, else that of the last login, else the local one."""
        where = url or self.url or self.credentials.current or DEFAULT_URL
        given = _given_token()
        if given is not None and not _is_for_people(given):
            note = (
                "HEADGATE_TOKEN or HEADGATE_TOKEN_FILE holds no access token, so this command uses the login"
            )
            typer.echo(f"headgate: {note}", err=True)
            given = None
        return AdminApi(where, self.credentials, self.ca, given)


def access_token() -> str | None:
    """The access token in HEADGATE_TOKEN or HEADGATE_TOKEN_FILE. A service's token there is not for people's commands.

    Raises Failure for what is no token.
    """
    given = _given_token()
    return given if given is not None and _is_for_people(given) else None


def _given_token() -> str | None:
    try:
        return present_token()
    except HeadgateError as error:
        raise Failure(str(error)) from error


def _is_for_people(token: str) -> bool:
    """Services' tokens are no JWTs, or say that they are service tokens: those are for the registry alone."""
    header, dot, rest = token.partition(".")
    if not dot or rest.count(".") != 1:
        return False
    try:
        kind = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))).get("typ")
    except (ValueError, AttributeError):
        return False
    return bool(kind != "st+jwt")
