"""`make bench-config`: real etcd and control planes, simulated data planes over real gRPC, one real data plane.

Everything runs on this machine at once, the simulated data planes too, so that the figures are upper bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import psutil

from demo.ports import free_port
from demo.processes import ROOT, ControlPlane, DataPlane, Etcd, Process, Secrets, answers, wait_until
from tests.benchmarks.config import report
from tests.benchmarks.config.blocks import blocks
from tests.benchmarks.config.changes import change, churn, document, quiet
from tests.benchmarks.config.fleet import Arrivals, Change, Streams, latencies, percentile, streams
from tests.benchmarks.config.leases import leases
from tests.benchmarks.config.throttle import throttled
from tests.benchmarks.contenders import start_upstream
from tests.benchmarks.figures import paired
from tests.benchmarks.machine import OTHER_CPUS, PROXY_CPUS, pin
from tests.benchmarks.stack import as_shipped

RATE = 50.0
LEASES = 8000
"""Instances under lease, from which a core's worth is reckoned."""
BEFOREHAND = 1.0
"""Seconds of changes before the load that meets them."""
TURNS = 15
"""Of a few seconds each: the machine is slower at times, and the longer a turn, the more such times fall into one."""
UNLIMITED = {"RATE_LIMIT_PER_SECOND": "0", "ACCESS_LOG": "false"}


class Bench:
    """What all parts need: the processes, and the figures found so far."""

    def __init__(self, folder: Path, routes: int, scale: float, output: Path) -> None:
        self.folder = folder
        self.output = output
        self.routes = routes
        self.scale = scale
        self.figures: dict[str, float] = {}
        self.stack = contextlib.ExitStack()
        self._last: Arrivals = {}

    def step(self, what: str, work: Callable[[], None], only: str | None = None) -> None:
        """Do one part, and say so: the whole takes minutes."""
        if only and only not in what:
            return
        began = time.monotonic()
        work()
        sys.stderr.write(f"{what}: {time.monotonic() - began:.1f} s\n")
        # Whatever becomes of the rest, what was found is found.
        report.write(self.figures, self.output)

    def start(self) -> None:
        """etcd, two control planes and an upstream; the configuration in one apply."""
        etcd = Etcd()
        self.processes = [self._keep(etcd.start(self.folder))]
        secrets = Secrets()
        self.controlplanes = [
            ControlPlane(etcd.url, secrets, name) for name in ("controlplane-1", "controlplane-2")
        ]
        self.processes += [self._keep(one.start(self.folder)) for one in self.controlplanes]
        self.upstream, self.upstream_pid = free_port(), 0
        if shutil.which("nginx"):
            upstream, self.upstream = start_upstream(self.folder)
            self.upstream_pid = self._keep(upstream).pid
        self.admin = self.stack.enter_context(self.controlplanes[0].admin())
        began = time.monotonic()
        whole = document(self.routes, self.upstream)
        self.admin.post("/api/v1/apply", json=whole, timeout=120).raise_for_status()
        self.figures["apply_10000_routes_s"] = time.monotonic() - began

    def propagation(self, name: str, controlplanes: Sequence[ControlPlane], count: int, changes: int) -> None:
        """Change after change, each once the one before has arrived everywhere; all report on 5,000 instances."""
        with self._reporting(controlplanes, count) as fleet:
            fleet.arrivals()
            made, late = [], []
            for number in range(changes):
                made.append(change(self.admin, number % self.routes))
                late += self._arrived(fleet, made[-1:])
            self.figures[f"propagation_p99_ms_{name}"] = percentile(late, 0.99)
            self.figures[f"propagation_median_ms_{name}"] = percentile(late, 0.5)

    @contextlib.contextmanager
    def _reporting(self, controlplanes: Sequence[ControlPlane], count: int) -> Iterator[Streams]:
        """Data planes that report on ten instances each of 500 services, once their first reports are taken in."""
        services = int(500 * self.scale)
        self.admin.post("/api/v1/apply", json=quiet(services), timeout=120).raise_for_status()
        with streams(controlplanes, count, processes=2 if count > 200 else 1, services=services) as fleet:
            self._at_rest()
            yield fleet

    def blocks(self) -> None:
        """The longest block of a control plane's event loop."""
        self.figures |= blocks(self.folder, self.routes)

    def memory(self) -> None:
        """All streams on one control plane, with some changes on their way."""
        with streams(self.controlplanes[:1], int(1000 * self.scale), processes=2) as fleet:
            for number in range(20):
                self._arrived(fleet, [change(self.admin, number)])
            rss = psutil.Process(self.processes[1].pid).memory_info().rss
            self.figures["controlplane_rss_mib"] = rss / 2**20

    def reports(self, seconds: float) -> None:
        """What a thousand data planes that report on 5,000 instances cost while nothing changes."""
        with self._reporting(self.controlplanes[:1], int(1000 * self.scale)) as fleet:
            self.figures["reports_controlplane_cpu"] = self._quiet(seconds)
            with httpx.Client(base_url=self.controlplanes[0].url, headers=self.admin.headers) as looking:
                looking.get("/api/v1/circuits", timeout=60).raise_for_status()
            self.figures["reports_looked_at_cpu"] = self._quiet(seconds)
            fleet.arrivals()

    def leases(self, seconds: float) -> None:
        """What instances under lease cost, each kept alive as the SDK does: a process each, then ten in a process."""
        count, idle = int(LEASES * self.scale), self._quiet(seconds / 2)
        before = psutil.Process(self.processes[1].pid).memory_info().rss
        for name, together in (("", 1), ("_together", 10)):
            with leases(self.controlplanes[0], count, together) as services:
                self._at_rest(count)
                services.kept()
                etcd = _cpu(self.processes[0])
                busy = self._quiet(seconds)
                self.figures[f"leases_etcd_cpu{name}"] = (_cpu(self.processes[0]) - etcd) / seconds
                answered, ended = services.kept()
                rss = psutil.Process(self.processes[1].pid).memory_info().rss
            self.figures[f"leases_10000_cpu{name}"] = (busy - idle) * 10_000 / count
            self.figures[f"leases_per_core{name}"] = count / (busy - idle)
            self.figures[f"leases_renewed_per_s{name}"] = answered / seconds
            self.figures[f"leases_streams_ended{name}"] = ended
            self.figures[f"leases_rss_kib_each{name}"] = (rss - before) / count / 1024
            # What is there leaves when its leases end.
            wait_until(lambda: not self._instances(), self.processes[1], timeout=120)

    def _instances(self) -> int:
        """Instances that lie under a lease in services of `leases`."""
        found = self.admin.get("/api/v1/services", timeout=60).raise_for_status().json()
        return sum(each["total"] for each in found if each["service_name"].startswith("leased-"))

    def _at_rest(self, leases: int = 0) -> None:
        """Return when the control plane has taken in what came at the beginning."""
        wait_until(lambda: self._quiet(1.0) < 0.5 + leases / 20_000, self.processes[1], timeout=120)

    def _quiet(self, seconds: float) -> float:
        """Cores that the first control plane uses."""
        before, began = _cpu(self.processes[1]), time.monotonic()
        time.sleep(seconds)
        return (_cpu(self.processes[1]) - before) / (time.monotonic() - began)

    def cold_start(self) -> None:
        """A real data plane without a cache, from its start until it is ready; the median of three."""
        found = []
        for number in range(3):
            dataplane = self._dataplane(f"cold-{number}")
            began = time.monotonic()
            process = dataplane.start(self.folder, wait=False)
            wait_until(answers(f"{dataplane.status_url}/ready"), process)
            found.append(time.monotonic() - began)
            process.stop()
        self.figures["cold_start_ready_s"] = percentile(found, 0.5)

    def churn(self, seconds: float) -> None:
        """So many changes a second to 100 data planes that report; then with half a CPU for the control plane."""
        with self._reporting(self.controlplanes[:1], int(100 * self.scale)) as fleet:
            self._churned(fleet, "churn", seconds)
            with throttled(self.processes[1].pid, 0.5) as is_throttled:
                if is_throttled:
                    self._churned(fleet, "churn_half", seconds)
                else:
                    sys.stderr.write("no half CPU: the cgroups of this machine cannot be written\n")

    def _churned(self, fleet: Streams, name: str, seconds: float) -> None:
        fleet.arrivals()
        before = _cpu(self.processes[1])
        made = self._churn(seconds)
        self.figures[f"{name}_controlplane_cpu"] = (_cpu(self.processes[1]) - before) / seconds
        late = self._arrived(fleet, made)
        self.figures[f"{name}_p99_ms"] = percentile(late, 0.99)
        self.figures[f"{name}_median_ms"] = percentile(late, 0.5)
        self.figures[f"{name}_changes_per_s"] = len(made) / seconds
        self.figures[f"{name}_deltas_per_s"] = max(map(len, self._last.values()), default=0) / seconds

    def traffic(self, seconds: float) -> None:
        """Requests through a real data plane, in quiet and under the same changes, in turns.

        The worker, its upstream and the requests have a CPU of their own; the supervisor shares the others with what
        makes the changes. That the machine as a whole is busier then, caches and memory included, is told apart by a
        third turn: the same changes, kept from the worker by stopping its supervisor.
        """
        dataplane = self._dataplane("traffic")
        process = self._keep(dataplane.start(self.folder))
        for pid in (process.pid, *([self.upstream_pid] if self.upstream_pid else [])):
            pin(pid, PROXY_CPUS)
        for pid in (process.pid, *(other.pid for other in self.processes)):
            for each in psutil.Process(pid).threads():
                os.sched_setaffinity(each.id, OTHER_CPUS)
        os.sched_setaffinity(0, OTHER_CPUS)
        _load(dataplane, 3)
        quiet, busy, beside = [], [], []
        for _ in range(TURNS):
            quiet.append(_load(dataplane, seconds / TURNS))
            busy.append(self._load_under_changes(dataplane, seconds / TURNS))
            process.signal(signal.SIGSTOP)
            beside.append(self._load_under_changes(dataplane, seconds / TURNS))
            process.signal(signal.SIGCONT)
        if all(quiet):
            self.figures["churn_traffic_p99_ratio"] = paired(busy, quiet)
            self.figures["churn_traffic_p99_over_beside"] = paired(busy, beside)
            self.figures["churn_traffic_p99_ms"] = percentile(busy, 0.5)
            self.figures["beside_traffic_p99_ms"] = percentile(beside, 0.5)
            self.figures["quiet_traffic_p99_ms"] = percentile(quiet, 0.5)

    def _load_under_changes(self, dataplane: DataPlane, seconds: float) -> float:
        """What comes at once before changes are spread is over before the load begins: turns stand for a minute."""
        thread = threading.Thread(target=lambda: self._churn(seconds + BEFOREHAND + 1))
        thread.start()
        time.sleep(BEFOREHAND)
        found = _load(dataplane, seconds)
        thread.join()
        return found

    def _churn(self, seconds: float) -> list[Change]:
        headers = self.admin.headers
        return asyncio.run(churn(self.controlplanes[0].url, headers, self.routes, RATE, seconds))

    def _arrived(self, fleet: Streams, made: list[Change]) -> list[float]:
        """How late the changes were, once all of them are there."""
        self._last = fleet.arrivals(max(one.revision for one in made))
        return latencies(made, self._last)

    def _dataplane(self, name: str) -> DataPlane:
        settings = {**UNLIMITED, **as_shipped()}
        return DataPlane(self.controlplanes[0].grpc, self.controlplanes[0].secrets, name, settings=settings)

    def _keep(self, process: Process) -> Process:
        self.stack.callback(process.stop)
        return process


def _load(dataplane: DataPlane, seconds: float) -> float:
    """p99 in milliseconds of some 4,000 requests/s on one route; 0 without wrk."""
    if shutil.which("wrk") is None:
        return 0.0
    url = f"{dataplane.url}/api/v1/things/r777/x"
    cpus = ",".join(map(str, PROXY_CPUS))
    argv = ["taskset", "-c", cpus, "wrk", "-t1", "-c20", f"-d{max(1, round(seconds))}s", "--latency"]
    run = subprocess.run(
        [*argv, "-s", str(Path(__file__).parent / "trickle.lua"), url],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)", run.stdout)
    if found is None or "Non-2xx" in run.stdout:
        raise RuntimeError(run.stdout)
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def _cpu(process: Process) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-config", description=__doc__)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of changes in a row")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the data planes, for a quick look")
    parser.add_argument("--only", help="parts whose name contains this, after the start")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-config.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        bench = Bench(Path(folder), options.routes, options.scale, options.output)
        with bench.stack:
            bench.step("etcd, control planes, configuration", bench.start)
            first, both = bench.controlplanes[:1], bench.controlplanes
            hundred, thousand = int(100 * options.scale), int(1000 * options.scale)
            bench.step("100 data planes", lambda: bench.propagation("100", first, hundred, 200), options.only)
            bench.step(
                "1,000 data planes", lambda: bench.propagation("1000", both, thousand, 60), options.only
            )
            bench.step("blocks of the event loop", bench.blocks, options.only)
            bench.step("memory", bench.memory, options.only)
            bench.step("reports", lambda: bench.reports(options.seconds / 2), options.only)
            bench.step("leases", lambda: bench.leases(options.seconds / 2), options.only)
            bench.step("cold start", bench.cold_start, options.only)
            bench.step("changes in a row", lambda: bench.churn(options.seconds), options.only)
            bench.step("traffic under changes", lambda: bench.traffic(options.seconds), options.only)
    sys.stdout.write(report.table(bench.figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
