"""headgate register: runs a program in any language, registered as an instance."""

from __future__ import annotations

import asyncio
import shlex
from typing import Annotated

import typer

from headgate import registration
from headgate.cli.failure import Failure
from headgate.command import Command
from headgate.errors import HeadgateError
from headgate.helpers import show_log
from headgate.models import ServiceDefinition


def register(
    service: Annotated[
        str,
        typer.Argument(
            help="Name of the service, which is created if it does not exist.", show_default=False
        ),
    ],
    command: Annotated[
        list[str],
        typer.Argument(
            help="The command to run, after --. Its variable PORT has the port.", show_default=False
        ),
    ],
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            envvar="HEADGATE_PORT",
            help="Port that the command listens on; none for a Unix socket.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            envvar="HEADGATE_HOST",
            help="Where data planes reach it, or unix:/path. Default: the address that leads to the control plane.",
            show_default=False,
        ),
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(
            "--id",
            help="Default: HEADGATE_INSTANCE, else host name, and port or the socket's path.",
            show_default=False,
        ),
    ] = None,
    weight: Annotated[int, typer.Option(min=1, max=1000, help="Share of the service's traffic.")] = 1,
    check_path: Annotated[
        str, typer.Option(help="Path that answers 2xx while it is healthy; only for a new service.")
    ] = "/health",
    drain: Annotated[
        float,
        typer.Option(min=0, max=300, help="Seconds for requests under way before the command is ended."),
    ] = 20.0,
    stop_timeout: Annotated[
        float,
        typer.Option(min=0, max=3600, help="Seconds between SIGTERM and SIGKILL."),
    ] = 10.0,
) -> None:
    """Run a command, registered as an instance while it runs.

    It is registered once it listens. On Ctrl-C and SIGTERM data planes stop sending it requests, requests under way
    finish, and then the command gets SIGTERM; a second Ctrl-C ends it at once. The exit code is that of the command.
    HEADGATE_CONTROLPLANE and HEADGATE_TOKEN set the control plane and the token.

    \b
    export HEADGATE_TOKEN=$(headgate token service shop)
    headgate register shop --port 9000 -- node server.js
    headgate register shop --port 9000 --check-path / -- python3 -m http.server 9000
    """
    show_log()
    definition = ServiceDefinition(service_name=service, check_path=check_path)
    try:
        entry = registration.register(
            definition,
            port=port,
            host=host,
            instance_id=instance,
            weight=weight,
            drain=drain,
            background=True,
            handle_sigterm=False,
        )
        code = asyncio.run(_run(command, port, stop_timeout, entry))
    except HeadgateError as error:
        raise Failure(str(error), 2) from error
    except OSError as error:
        raise Failure(f"cannot run {shlex.join(command)}: {error.strerror}", 127) from error
    if code:
        raise typer.Exit(code)


async def _run(
    argv: list[str], port: int | None, stop_timeout: float, entry: registration.Registration
) -> int:
    return await Command(argv, port, stop_timeout).run(entry)
