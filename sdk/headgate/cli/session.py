"""What every command shares: which control plane is meant, and how a failure ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from headgate.cli.api import DEFAULT_URL, AdminApi
from headgate.cli.credentials import Credentials
from headgate.cli.failure import Failure


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
        return AdminApi(url or self.url or self.credentials.current or DEFAULT_URL, self.credentials, self.ca)
