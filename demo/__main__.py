"""`make demo`: start a whole gateway on this machine, walk through it, and stay up until Ctrl-C.

`--check` exits after the tour: exit code 0 if every step succeeded, 1 otherwise, 2 if the demo could not start.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Mapping

from demo.interrupts import Interrupts
from demo.processes import StartError, kill_everything, stop_everything
from demo.running import AlreadyRunning, only_one
from demo.tour import Tour
from demo.traffic import Traffic
from demo.world import FOLDER, World, demo_world, running


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make demo", description="Start a whole gateway and walk through it."
    )
    after = parser.add_mutually_exclusive_group()
    after.add_argument("--check", action="store_true", help="exit after the tour, non-zero if a step failed")
    after.add_argument(
        "--traffic", action="store_true", help="send ten requests a second after the tour (make: TRAFFIC=1)"
    )
    parser.add_argument(
        "--port-base", type=_base, metavar="N", help="use ports N to N + 80 (make: PORT_BASE=N)"
    )
    given = parser.parse_args()
    Interrupts(kill_everything).install()
    try:
        with only_one(FOLDER):
            return run(demo_world(given.port_base), given.check, given.traffic)
    except AlreadyRunning as error:
        return tell_running(error, given.check)
    except StartError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0 if not given.check else 130


def run(world: World, check: bool, traffic: bool = False) -> int:
    """Start, walk, and stay up unless only checking."""
    begun = time.monotonic()
    try:
        print("Starting etcd, the control plane, two data planes and three service instances …", flush=True)
        with running(world):
            print(f"Ready after {time.monotonic() - begun:.1f} s.")
            failures = Tour(world).walk()
            print(f"\nThe tour took {time.monotonic() - begun:.0f} s; {_steps(failures)} failed.")
            if not check:
                print_urls(world.facts())
                stay(world, traffic)
    finally:
        # Also processes that were starting at the time of the interruption.
        stop_everything()
    return 1 if failures else 0


def stay(world: World, traffic: bool) -> None:
    """Until Ctrl-C."""
    with Traffic([plane.url for plane in world.dataplanes]) if traffic else contextlib.nullcontext():
        if traffic:
            print("\nTen requests a second go to the gateway. Watch them: .venv/bin/headgate limits")
        print("\nCtrl-C stops everything.", flush=True)
        signal.pause()


def _steps(count: int) -> str:
    return f"{count or 'no'} step{'s' if count > 1 else ''}"


def tell_running(error: AlreadyRunning, check: bool) -> int:
    """A second demo starts nothing, and prints the addresses of the first one."""
    print(f"{str(error).capitalize()}. Nothing was started.")
    if error.facts:
        print_urls(error.facts)
    return 2 if check else 0


def print_urls(facts: Mapping[str, str]) -> None:
    """Say where everything is."""
    try:
        print(f"""
  gateway        {facts["gateway"]}   and {facts["second_gateway"]}
  status         {facts["status"]}/metrics   /health   /debug/config
  dashboard      {facts["controlplane"]}/   (to act: user admin, password in {FOLDER.name}/demo.json)
  admin API      {facts["controlplane"]}/api/v1/openapi.json
  registry       {facts["grpc"]}   (services: docs/tutorial/)
  logs           {facts["logs"]}
  command line   .venv/bin/headgate login --demo && .venv/bin/headgate status""")
    except KeyError:
        print(f"  {FOLDER / 'demo.json'} is of another version: stop that demo first")


def _base(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65_535 - 80:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1024 to {65_535 - 80}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
