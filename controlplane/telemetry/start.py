"""Starts and stops the export: nothing of it is imported without an endpoint, and nothing of it blocks the event loop.

Batches wait in bounded queues and are sent by threads of the SDK. A collector that hangs or is away costs what is in
the queues, and at the end of the process at most `END_WITHIN` seconds.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controlplane.telemetry.spans import Spans
from controlplane.telemetry.variables import Target, WrongVariable, targets, use_env_file

END_WITHIN: Final = 5.0
"""Seconds within which the rest is sent at the end."""
NEEDED: Final = "opentelemetry.exporter"
SCOPE: Final = "headgate.controlplane"

logger = logging.getLogger(__name__)


@dataclass
class Telemetry:
    """What is exported. Without `targets`, nothing is."""

    spans: Spans
    measure: Callable[[str, str, int, float], None] | None = None
    """Measures a request to the admin API: method, route, status, seconds."""
    bridge: Callable[[object], None] = lambda source: None
    """Exports the metrics of a source, from now on."""
    close: Callable[[], None] | None = None
    """Sends the rest; blocks."""

    async def end(self) -> None:
        """Send the rest, within `END_WITHIN` seconds. After that the thread is left to end with the process."""
        if (close := self.close) is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def run() -> None:
            close()
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=run, name="telemetry: end", daemon=True).start()
        try:
            async with asyncio.timeout(END_WITHIN):
                await done.wait()
        except TimeoutError:
            logger.warning("telemetry was not sent in time at the end")


def start(version: str, instance: str) -> Telemetry:
    """Start the export that the variables ask for. `instance`: unique to this process. Raises WrongVariable."""
    use_env_file(Path())
    found = targets(os.environ)
    if not found:
        return Telemetry(Spans())
    _require_packages()
    from controlplane.telemetry.providers import make

    logger.info(
        "telemetry is exported", extra={"endpoints": sorted({one.endpoint for one in found.values()})}
    )
    return make(found, version, instance)


def _require_packages() -> None:
    try:
        present = importlib.util.find_spec("opentelemetry.sdk") and importlib.util.find_spec(
            f"{NEEDED}.otlp.proto.grpc"
        )
    except ModuleNotFoundError:
        present = None
    if present is None:
        raise WrongVariable("OTEL_EXPORTER_OTLP_ENDPOINT: needs pip install 'headgate-controlplane[otlp]'")


__all__ = ["Target", "Telemetry", "WrongVariable", "start"]
