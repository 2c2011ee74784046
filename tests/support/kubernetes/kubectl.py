"""A typed kubectl for the tests: every cluster that a kubeconfig names."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from tests.support.waiting import eventually_now

Object = dict[str, Any]
NEWLINE = '{"\\n"}'


class KubectlError(Exception):
    """kubectl ended with an error; the message has its words."""


class Watch:
    """Lines that a watch has told, with the time of each."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def first(self, holds: Callable[[str], bool], within: float = 60) -> tuple[float, str]:
        """The first line for which the function holds, and when it came (time.monotonic)."""
        return eventually_now(lambda: next(each for each in [*self._lines] if holds(each[1])), within=within)

    def close(self) -> None:
        """After the end of the process."""
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.append((time.monotonic(), line.strip()))


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl for one namespace."""

    kubeconfig: Path
    namespace: str = "default"
    program: str = field(default="kubectl", repr=False)

    def within(self, namespace: str) -> Self:
        """The same for another namespace."""
        return replace(self, namespace=namespace)

    def argv(self, *arguments: str) -> list[str]:
        return [self.program, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments]

    def run(self, *arguments: str, given: str | None = None, timeout: float = 120) -> str:
        """Run it and return its output. Raises KubectlError."""
        ended = subprocess.run(
            self.argv(*arguments), input=given, capture_output=True, text=True, timeout=timeout, check=False
        )
        if ended.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {ended.stderr or ended.stdout}")
        return ended.stdout

    def problem(self) -> str:
        """Why the cluster cannot be used; empty if it answers."""
        try:
            self.run("version", "--request-timeout=10s", timeout=30)
        except (KubectlError, OSError, subprocess.TimeoutExpired) as error:
            return str(error).strip()
        return ""

    def apply(self, *objects: Object) -> None:
        """Server-side, so that a schema's faults are errors and large objects are possible."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", given=json.dumps(document))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.run("get", kind, name, "--output=json"))
        return found

    def list(self, kind: str, selector: str = "") -> Sequence[Object]:
        found: list[Object] = json.loads(self.run("get", kind, f"--selector={selector}", "--output=json"))[
            "items"
        ]
        return found

    @contextlib.contextmanager
    def watch(self, what: str, selector: str, fields: str) -> Iterator[Watch]:
        """Note when the objects change, during the block. `fields` is a JSONPath for what is told of each."""
        argv = self.argv(
            "get", what, f"--selector={selector}", "--watch", f"--output=jsonpath={fields}{NEWLINE}"
        )
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        watch = Watch(process)
        try:
            yield watch
        finally:
            process.terminate()
            process.wait()
            watch.close()

    def wait(self, what: str, condition: str, timeout: float = 120) -> None:
        """Until the objects meet a condition, such as `condition=Ready`. Raises KubectlError after the time."""
        self.run("wait", what, f"--for={condition}", f"--timeout={timeout:.0f}s", timeout=timeout + 30)

    def rolled_out(self, what: str, timeout: float = 180) -> None:
        """Until every pod of a Deployment or StatefulSet is of the newest revision and ready."""
        self.run("rollout", "status", what, f"--timeout={timeout:.0f}s", timeout=timeout + 30)
