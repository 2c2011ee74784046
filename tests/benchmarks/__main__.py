"""`make bench`: one worker of each proxy on one CPU, in interleaved rounds on the same work; medians and ratios.

Every contender stays up through the whole run and idles while another is loaded. The upstream, the load and the
control plane share the other CPUs.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from demo.processes import ROOT, StartError
from tests.benchmarks import report, stack
from tests.benchmarks.contenders import Contender, Missing, envoy, nginx_plain, start_upstream
from tests.benchmarks.load import LoadError, Sample, measure


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of load per contender and round")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    options = parser.parse_args()
    absent = [command for command in ("nginx", "wrk", "taskset") if shutil.which(command) is None]
    if absent:
        sys.stderr.write(
            f"make bench needs {', '.join(absent)} (Debian: apt-get install nginx-light wrk util-linux)\n"
        )
        return 2
    try:
        samples, missing = run(options.rounds, options.seconds)
    except (StartError, LoadError) as error:
        sys.stderr.write(f"make bench: {error}\n")
        return 1
    sys.stdout.write("\n" + report.table(samples, missing) + "\n")
    report.write(samples, missing, options.output)
    sys.stdout.write(f"\nWritten to {options.output}\n")
    return 0


def run(rounds: int, seconds: int) -> tuple[dict[str, list[Sample]], dict[str, str]]:
    """Start everything, load each contender in turn, `rounds` times over, after one warm-up round."""
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="headgate-bench-")))
        upstream, port = start_upstream(folder)
        cleanup.callback(upstream.stop)
        gateway = cleanup.enter_context(stack.running(folder, port))
        contenders = [gateway.policy_on, gateway.policy_off]
        missing = {}
        for begin in (nginx_plain, envoy("envoy_plain.yaml"), envoy("envoy_policy.yaml")):
            found = begin(folder, port)
            if isinstance(found, Missing):
                missing[found.name] = found.reason
                continue
            cleanup.callback(found.process.stop)
            contenders.append(found)
        return load(contenders, folder / "tokens", rounds, seconds), missing


def load(contenders: list[Contender], tokens: Path, rounds: int, seconds: int) -> dict[str, list[Sample]]:
    """The rounds themselves, with progress."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        for contender in contenders:
            sample = measure(contender, tokens, seconds if number else 1)
            words = f"round {number}/{rounds}" if number else "warm-up"
            sys.stdout.write(
                f"{words:12}{contender.name:18}{sample.requests_per_second:>10,.0f} requests/s\n"
            )
            sys.stdout.flush()
            if number:
                samples[contender.name].append(sample)
    return samples


if __name__ == "__main__":
    sys.exit(main())
