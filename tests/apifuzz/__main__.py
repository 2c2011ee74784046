"""Runs schemathesis against the admin API: no answer above 499, and none that its description does not hold.

    python -m tests.apifuzz --seconds 120 [--seed 1]

The API is the real one on a socket, over a store in memory. Exit code 0, or that of schemathesis.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn

from controlplane.api.application import make_api
from controlplane.api.openapi import describe
from controlplane.api.table import operations
from demo.ports import free_port
from tests.support.api import running_api
from tests.support.waiting import eventually

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
TOOL = str(Path(__file__).parents[2] / "build/api-fuzz/bin/schemathesis")
"""In an environment of its own (`make api-fuzz`): it brings a plugin of pytest."""
SETTINGS = """
[checks.not_a_server_error]
# 504: nobody serves the change within the wait.
expected-statuses = ["2xx", "3xx", "4xx", "504"]

[[operations]]
include-name = "POST /api/v1/explain"
# 503: data planes explain, and there are none here.
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]
"""
LONGEST_WAIT = 0.05
"""Seconds. An answer may wait for data planes, of which there are none here."""


def description() -> dict[str, Any]:
    """What the API says of itself, with shorter waits."""
    document = describe(operations(), "0")
    for path in list(document["paths"]):
        if any("text/event-stream" in str(operation) for operation in document["paths"][path].values()):
            del document["paths"][path]  # its answer has no end
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "wait":
                    parameter["schema"]["maximum"] = LONGEST_WAIT
    return document


async def _prepared() -> None:
    """The store holds keys and users already."""


async def run(seconds: int, seed: int | None, folder: Path) -> int:
    """Serve the API and have it tested; the exit code."""
    file, port = folder / "openapi.json", free_port()
    file.write_text(json.dumps(description()))
    async with running_api() as api:
        api.parts.store, api.parts.prepare_store = api.store, _prepared
        config = uvicorn.Config(
            make_api(api.parts),
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,  # a request that nobody awaits any more may wait for data planes
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        token = (await api.token())["Authorization"]
        (folder / "schemathesis.toml").write_text(SETTINGS)
        argv = [TOOL, "run", str(file)]
        argv += ["--url", f"http://127.0.0.1:{port}", "--header", f"Authorization: {token}"]
        argv += ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-time", str(seconds)]
        argv += ["--request-timeout", "60"]
        argv += ["--seed", str(seed)] if seed is not None else []
        child = await asyncio.create_subprocess_exec(*argv, cwd=folder)
        code = await child.wait()
        server.should_exit = True
        await serving
    return code


def main() -> int:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.apifuzz")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(given.seconds, given.seed, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
