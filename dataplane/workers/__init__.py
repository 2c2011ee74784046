"""The supervisor's side of the workers: processes, what each of them holds, and all of them together."""

from __future__ import annotations

from dataplane.workers.pool import Pool
from dataplane.workers.process import WorkerProcess, spawn

__all__ = ["Pool", "WorkerProcess", "spawn"]
