"""What a worker's process is made of, and how its options reach it."""

from __future__ import annotations

import json
import subprocess
import sys

from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import BUILTIN, Limit, LimitKey, coarse_limit
from dataplane.options import AccessLogOptions, WorkerOptions
from dataplane.proxy.bounds import Bounds

OPTIONS = WorkerOptions(
    node="node-1",
    index=1,
    workers=2,
    control_fd=5,
    listen_fd=6,
    level="info",
    access_log=AccessLogOptions(fields=("status",), redact=("x-tenant",)),
    drain_timeout=30.0,
    rate_limit_per_second=100.0,
    rate_limit_burst=150,
    trusted_proxies=("10.0.0.0/8",),
    status_host="127.0.0.1",
    status_port=8001,
    expose_metrics=False,
    bounds=Bounds(strip=("x-tenant",)),
)


def test_options_survive_the_command_line() -> None:
    assert WorkerOptions.from_json(OPTIONS.to_json()) == OPTIONS
    assert json.loads(OPTIONS.to_json())["node"] == "node-1"


def test_a_worker_imports_nothing_it_has_no_use_for() -> None:
    """No gRPC, which must not be there when processes are started, and nothing of the supervisor's."""
    strangers = (
        "{'grpc', 'pydantic', 'httpx', 'starlette', 'uvicorn', 'prometheus_client', 'dataplane.settings'}"
    )
    found = f"{strangers} & set(sys.modules)"
    code = f"import sys, dataplane.worker.worker; found = {found}; sys.exit(' '.join(found) or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_coarse_limit_has_a_name_that_no_configured_limit_can_have() -> None:
    coarse = coarse_limit(OPTIONS.rate_limit_per_second, OPTIONS.rate_limit_burst)
    assert coarse is not None and coarse.name.startswith(BUILTIN)
    limiter, own = Limiter(), Limit("address", 1, 1, LimitKey.ADDRESS)
    assert not limiter.counter(coarse).take("192.0.2.1", 0.0)
    assert not limiter.counter(own).take("192.0.2.1", 0.0)
    assert limiter.counter(own).take("192.0.2.1", 0.0)
