"""`make demo`: start a whole gateway on this machine, walk through it, and stay up until Ctrl-C.

`--check` ends after the tour: exit code 0 when every step came out as it should, 1 otherwise.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from demo.processes import StartError
from demo.tour import Tour
from demo.world import World, demo_world, running


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make demo", description="Start a whole gateway and walk through it."
    )
    parser.add_argument("--check", action="store_true", help="exit after the tour, non-zero if a step failed")
    check = parser.parse_args().check
    # A terminated demo cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(check)
    except StartError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0 if not check else 130


def run(check: bool) -> int:
    """Start, walk, and stay up unless only checking."""
    begun = time.monotonic()
    print("Starting etcd, the control plane, two data planes and three service instances …")
    with running(demo_world()) as world:
        print(f"Ready after {time.monotonic() - begun:.1f} s.")
        failures = Tour(world).walk()
        print(f"\nThe tour took {time.monotonic() - begun:.0f} s; {_steps(failures)} failed.")
        if not check:
            print_urls(world)
            signal.pause()
    return 1 if failures else 0


def _steps(count: int) -> str:
    return f"{count or 'no'} step{'s' if count > 1 else ''}"


def print_urls(world: World) -> None:
    """Say where everything is."""
    print(f"""
  gateway        {world.gateway}   and {world.dataplanes[1].url}
  status         {world.dataplanes[0].status_url}/metrics   /health   /debug/config
  admin API      {world.controlplane.url}/api/v1/openapi.json
  logs           {world.folder / "run"}
  command line   .venv/bin/headgate login --demo && .venv/bin/headgate status

Ctrl-C stops everything.""")


if __name__ == "__main__":
    sys.exit(main())
