"""What a large fleet's reports cost one control plane, without the wire: `python -m tests.benchmarks.config.scale`.

Takes a number of data planes and a number of instances. Milliseconds are CPU time of this process.
"""

from __future__ import annotations

import resource
import sys
import time

from controlplane.fleet import summaries
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.reports import InstanceHealth, InstanceStatus


def milliseconds(began: float) -> float:
    """Since then."""
    return 1000 * (time.process_time() - began)


def mebibytes() -> float:
    """The most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Print the figures."""
    nodes, instances = (int(one) for one in (sys.argv[1:3] or ("1000", "5000")))
    fleet, names = Fleet(), [(f"s{number // 10}", f"i{number % 10}") for number in range(instances)]
    whole = [InstanceHealth(*name, InstanceStatus.HEALTHY, 1.0) for name in names]
    failed = [InstanceHealth(*names[0], InstanceStatus.UNHEALTHY, 2.0, "refused")]
    say, before = sys.stdout.write, mebibytes()
    say(f"{nodes} data planes, {instances} instances\n")
    for number in range(nodes):
        fleet.hello(f"gw-{number}", "1")
    # The first one stands for all: what the others say costs the same, in bits that are there already.
    began = time.process_time()
    fleet.health("gw-0", whole, 1)
    say(f"first report of one data plane: {milliseconds(began):.1f} ms\n")
    for name in names:
        found = fleet.verdicts.found[name]
        found.known = found.well = (1 << nodes) - 1
    say(f"memory for the votes and the data planes: {mebibytes() - before:.0f} MiB\n")
    began = time.process_time()
    for number in range(nodes):
        fleet.health(f"gw-{number}", failed, 1, changes=True)
    say(f"one instance fails, every data plane says so: {milliseconds(began):.1f} ms\n")
    began = time.process_time()
    fleet.disconnect("gw-0")
    fleet.views._counted()
    say(f"a data plane leaves: {milliseconds(began):.2f} ms\n")
    began = time.process_time()
    value = summaries.encode(fleet.peer_state(), 1 << 30)
    say(f"what other control planes are told: {len(value) / 1024:.0f} KiB in {milliseconds(began):.0f} ms\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
