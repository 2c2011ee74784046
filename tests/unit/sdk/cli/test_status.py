"""What `headgate status` says of a control plane that is not well."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.cli.status import print_status


@pytest.mark.parametrize(
    ("health", "told"),
    [
        ({"store": "ok", "problems": []}, []),
        (
            {"store": "does not answer", "problems": []},
            ["the store (etcd) does not answer: nothing can be changed"],
        ),
        ({"store": "ok", "problems": ["the store is full"]}, ["the store is full"]),
        ({"node": "gateway-1"}, []),
    ],
)
def test_problems_are_told(
    health: dict[str, Any], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    controlplane = {"url": "http://127.0.0.1:8080", "status": "degraded", **health}
    print_status({"controlplane": controlplane, "dataplanes": [], "services": [], "circuits": []})
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "problem" in line] == [f"  problem: {text}" for text in told]
