"""`python -m dataplane`: one data plane.

Exit codes: 0 after a drain; 2 when it cannot start, with one line on stderr that says why.
"""

from __future__ import annotations

import asyncio
import sys

from dataplane.certificates import BadFiles
from dataplane.listen import ListenError, TrafficPort, listen
from dataplane.observe import logs
from dataplane.settings import Settings, SettingsError, load, split_address


def main() -> int:
    """Start with the environment's settings."""
    try:
        return _run(load())
    except (SettingsError, ListenError, BadFiles) as error:
        sys.stderr.write(f"headgate-dataplane: {error}\n")
        return 2


def _run(settings: Settings) -> int:
    traffic = TrafficPort(*split_address(settings.listen))
    secured = TrafficPort(*split_address(settings.tls_listen), "TLS_LISTEN") if settings.tls_listen else None
    status = listen(*split_address(settings.status_listen), "STATUS_LISTEN")
    logs.set_up(settings.level, node=settings.node_name)
    # Imported only now, because gRPC alone takes longer than it takes to find out that a port is in use.
    from dataplane.supervisor import Supervisor

    async def supervise() -> None:
        await Supervisor(settings, traffic, status, secured).run()

    asyncio.run(supervise())
    return 0


if __name__ == "__main__":
    sys.exit(main())
