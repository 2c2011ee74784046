"""`headgate limits`: what holds, who is refused, and filling up buckets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from typer.testing import Result

from tests.support.fake_admin import FakeAdmin

Run = Callable[..., Result]


def bucket(key: str, refused: int, **left: float) -> dict[str, Any]:
    nodes = {
        node.replace("_", "-"): {
            "remaining": tokens,
            "refused": refused,
            "counted": "node",
            "away": tokens < 0,
        }
        for node, tokens in left.items()
    }
    return {"key": key, "remaining": min(left.values()), "refused": refused, "dataplanes": nodes}


def limit(name: str, *buckets: dict[str, Any], mode: str = "local", **fields: Any) -> dict[str, Any]:
    over = "dataplane" if mode == "local" else "fleet"
    bound = {"burst": 80, "per_second": 40.0, "under_way": None, "over": over, "holds": True, "reason": "so"}
    return {
        "name": name,
        "per_second": 40.0,
        "burst": 80,
        "mode": mode,
        "owner": None,
        "bound": bound | fields.pop("bound", {}),
        "refused": sum(one["refused"] for one in buckets),
        "more": 0,
        "buckets": list(buckets),
        **fields,
    }


@pytest.fixture
def limits(admin: FakeAdmin) -> None:
    many = {f"gateway_{number}": float(number) for number in range(5)}
    admin.limits = [
        limit("callers", bucket("subject:testuser", 7, gateway_1=1.5, gateway_2=0)),
        limit(
            "tokens", bucket("subject:ann", 9, **many), mode="fleet", owner="controlplane-1-50051-1f2e3d4c"
        ),
        limit("in-redis", mode="redis", bound={"holds": False, "reason": "Redis does not answer gateway-1"}),
    ]


@pytest.mark.usefixtures("limits")
def test_the_table_fits_a_terminal(logged_in: Run, admin: FakeAdmin) -> None:
    result = logged_in("limits")
    assert result.exit_code == 0, result.output
    assert admin.queries == [{"most": "20"}]
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80, result.stdout
    assert [line.split()[0] for line in lines if "subject:" in line] == ["tokens", "callers"]
    assert "80 + 40/s, each data plane" in lines[1] and "80 + 40/s, the fleet" in lines[2]
    assert "controlplane-1-50051-1f2e3d4c" in lines[2]
    assert "The bound does not hold: in-redis: Redis does not answer gateway-1" in lines
    assert "gateway-0 0, gateway-1 1, +3" in result.stdout


@pytest.mark.usefixtures("limits")
def test_a_choice_is_passed_on(logged_in: Run, admin: FakeAdmin) -> None:
    admin.limits[0]["more"] = 3
    result = logged_in("limits", "-l", "callers", "-k", "testuser", "--node", "gateway-1", "-n", "1")
    assert result.exit_code == 0, result.output
    assert admin.queries == [{"limit": "callers", "key": "testuser", "node": "gateway-1", "most": "1"}]
    assert result.stdout.splitlines()[-1].startswith("3 more: --number")
    assert json.loads(logged_in("limits", "-o", "json").stdout) == admin.limits
    assert yaml.safe_load(logged_in("limits", "-o", "yaml").stdout) == admin.limits


def test_a_key_that_no_bucket_has(logged_in: Run, admin: FakeAdmin) -> None:
    """The table would say that there are no limits."""
    admin.limits = []
    assert (
        logged_in("limits", "-k", "subject:nobody").stdout == "No bucket in use has the key subject:nobody.\n"
    )
    assert "no limits" in logged_in("limits").stdout


@pytest.mark.usefixtures("limits")
def test_a_mistyped_limit(logged_in: Run) -> None:
    result = logged_in("limits", "--limit", "caller")
    assert (result.exit_code, result.stderr) == (
        1,
        "headgate: rate limit 'caller' does not exist: did you mean callers?\n",
    )
    result = logged_in("limits", "--limit", "zzz")
    assert (result.exit_code, result.stderr) == (1, "headgate: rate limit 'zzz' does not exist\n")


def test_nothing_to_show(logged_in: Run) -> None:
    assert logged_in("limits").stdout.splitlines() == ["no limits", "", "no buckets in use"]


def receipt(key: str, **limits: int) -> dict[str, Any]:
    counts = {"buckets": sum(limits.values()), "limits": limits, "dataplanes": {}}
    return {"revision": 7, "key": key, **counts, "unreached": [], "waiting": []}


def test_a_reset_says_how_many(logged_in: Run, admin: FakeAdmin) -> None:
    admin.receipts["subject:jo"] = receipt("subject:jo", callers=2, tokens=1)
    result = logged_in("limits", "reset", "subject:jo")
    assert (result.exit_code, result.stdout) == (
        0,
        "Reset 3 buckets of subject:jo: callers 2, tokens 1\n",
    )
    assert admin.resets == ["subject:jo"]
    admin.receipts["address:2001:db8::/64"] = receipt("address:2001:db8::/64", callers=1)
    assert logged_in("limits", "reset", "address:2001:db8::/64").stdout.startswith(
        "Reset 1 bucket of address:"
    )
    assert json.loads(logged_in("limits", "reset", "subject:jo", "-o", "json").stdout)["buckets"] == 3


def test_what_a_reset_has_not_reached(logged_in: Run, admin: FakeAdmin) -> None:
    waiting = [f"gateway-{number}" for number in range(5)]
    admin.receipts["subject:jo"] = receipt("subject:jo") | {
        "unreached": ["r"],
        "waiting": waiting,
        "unreported": ["old"],
    }
    assert logged_in("limits", "reset", "subject:jo").stdout.splitlines() == [
        "Reset 0 buckets of subject:jo",
        "Redis did not answer, where these are counted: r",
        "Not heard of yet, and on its way there: gateway-0, gateway-1, +3",
        "Reset there, but an older version does not say how many: old",
    ]


@pytest.mark.usefixtures("limits")
def test_a_mistyped_key(logged_in: Run) -> None:
    result = logged_in("limits", "reset", "subject:testusr")
    assert (result.exit_code, result.stderr) == (
        1,
        "headgate: no bucket of any limit has the key 'subject:testusr': did you mean subject:testuser?\n",
    )
