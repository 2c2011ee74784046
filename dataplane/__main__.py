"""`python -m dataplane`: one data plane.

Exit codes: 0 after a drain; 2 when it cannot start, with one line on stderr that says why.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import socket
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from dataplane.certificates import BadFiles
from dataplane.observe import logs
from dataplane.setting_types import split_address
from dataplane.settings import Settings, SettingsError, load, misspelled
from dataplane.supervisor.listen import ListenError, TrafficPort, listen
from dataplane.telemetry.options import Telemetry
from dataplane.telemetry.settings import TelemetryError, load_telemetry

if TYPE_CHECKING:
    from dataplane.supervisor.launch import Launcher

_log = logging.getLogger(__name__)


def main() -> int:
    """Start with the environment's settings."""
    answer_questions()
    # By default it ends the process. Logs may be rotated before the supervisor handles it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        return _run(*read_settings())
    except (SettingsError, ListenError, BadFiles) as error:
        sys.stderr.write(f"headgate-dataplane: {error}\n")
        return 2


def read_settings() -> tuple[Settings, Telemetry]:
    """All settings. SettingsError names every invalid or missing variable."""
    problems, settings, telemetry = [], None, None
    try:
        settings = load()
    except SettingsError as error:
        problems.append(str(error))
    try:
        given = settings is not None and "trace_sampling" in settings.model_fields_set
        telemetry = load_telemetry(trace_sampling_given=given)
    except TelemetryError as error:
        problems.append(str(error))
    if settings is None or telemetry is None:
        raise SettingsError("; ".join(problems))
    return settings, telemetry


def answer_questions() -> None:
    """Answer --help and --version, for which no setting is needed; anything else on the command line is refused."""
    parser = argparse.ArgumentParser(
        prog="headgate-dataplane",
        description="Run a data plane: serve traffic on LISTEN (0.0.0.0:8000) until SIGTERM or Ctrl-C, then drain.",
        epilog="Settings come from the environment or .env: CONTROLPLANE and DATAPLANE_TOKEN at least. "
        "docs/reference/settings.md lists all of them. Exit code 2: it cannot start, and one line says why.",
    )
    version = f"headgate-dataplane {metadata.version('headgate-dataplane')}"
    parser.add_argument("--version", action="version", version=version)
    parser.parse_args()


def _run(settings: Settings, telemetry: Telemetry) -> int:
    traffic = TrafficPort(*split_address(settings.listen))
    secured = TrafficPort(*split_address(settings.tls_listen), "TLS_LISTEN") if settings.tls_listen else None
    status = listen(*split_address(settings.status_listen), "STATUS_LISTEN")
    logs.set_up(settings.level, node=settings.node_name)
    for sentence in (*settings.warnings, *misspelled()):
        _log.warning("%s", sentence)
    # Imported late, so that a port in use is reported without waiting for the import.
    from dataplane.supervisor.launch import Launcher

    launcher = Launcher(settings, traffic, secured, telemetry)
    asyncio.run(_supervise(settings, launcher, status, telemetry))
    return 0


async def _supervise(
    settings: Settings, launcher: Launcher, status: socket.socket, telemetry: Telemetry
) -> None:
    await launcher.ahead()
    # Imported modules live as long as the process: a collection would scan them for nothing.
    gc.disable()
    # Imports gRPC, which takes a while; the workers start meanwhile.
    from dataplane.supervisor.supervisor import Supervisor

    supervisor = Supervisor(settings, launcher, status, telemetry)
    gc.freeze()
    gc.enable()
    await supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
