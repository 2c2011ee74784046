"""get, delete, status and circuits."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from headgate.cli import render
from headgate.cli.kinds import KINDS, find_kind
from tests.support.fake_admin import FakeAdmin

ORDERS = {
    "name": "orders",
    "prefix": "/orders",
    "path": None,
    "hosts": [],
    "methods": ["GET", "POST"],
    "service_name": "orders",
    "scopes": ["orders:read"],
    "public": False,
    "rate_limits": ["burst"],
}
INSTANCE = {
    "status": "healthy",
    "last_check": "2026-01-01T00:00:00.000Z",
    "reason": "",
    "host": "127.0.0.1",
    "port": 9001,
    "weight": 1,
    "metadata": {},
}
SERVICES = [
    {
        "service_name": "orders",
        "instances": {"a": INSTANCE, "b": {**INSTANCE, "status": "unhealthy", "reason": "answered 500"}},
        "healthy": 1,
        "total": 2,
    }
]
CIRCUITS = [
    {
        "service_name": "orders",
        "state": "open",
        "last_state_change": "2026-01-01T00:00:00.000Z",
        "stats": {"total_requests": 10, "failed_requests": 5, "rejected_requests": 3},
        "recent_failures": 5,
        "reason": "Circuit opened after 5 failures",
    }
]
DATAPLANES = [
    {
        "node": "gateway-1",
        "version": "0.1.0",
        "connected": True,
        "applied_revision": 41,
        "last_seen": "2026-01-01T00:00:00.000Z",
        "last_rejection": {
            "revision": 42,
            "at": "2026-01-01T00:00:01.000Z",
            "problems": [{"resource": "route/x", "field": "", "detail": "too many"}],
        },
    }
]


@pytest.fixture
def filled(logged_in: Any, admin: FakeAdmin) -> Any:
    admin.sections["routes"]["orders"] = ORDERS
    admin.sections["scopes"]["a/b c"] = {"name": "a/b c", "description": "Odd"}
    admin.views = {"services": SERVICES, "circuits": CIRCUITS, "dataplanes": DATAPLANES}
    return logged_in


def words(line: str) -> list[str]:
    return [word for word in line.split("  ") if word]


def test_a_table(filled: Any) -> None:
    header, row = filled("get", "routes").stdout.splitlines()
    assert [word.strip() for word in words(header)] == [
        "ROUTE",
        "MATCH",
        "HOSTS",
        "METHODS",
        "SERVICE",
        "ACCESS",
        "LIMITS",
    ]
    assert [word.strip() for word in words(row)] == [
        "orders",
        "/orders",
        "any",
        "GET, POST",
        "orders",
        "orders:read",
        "burst",
    ]


def test_labels_are_a_column_when_asked_for(filled: Any, admin: FakeAdmin) -> None:
    admin.sections["routes"]["orders"] = {**ORDERS, "labels": {"tier": "1", "team": "shop"}}
    for words in (("get", "routes"), ("get", "route", "orders"), ("get", "all")):
        header, row = filled(*words, "--show-labels").stdout.splitlines()[:2]
        assert header.endswith("LABELS")
        assert row.endswith("  team=shop, tier=1")
        assert "LABELS" not in filled(*words).stdout


def test_an_empty_table(filled: Any) -> None:
    assert filled("get", "users").stdout == "no users\n"


@pytest.mark.parametrize("spelling", ["route", "routes", "Routes", "ROUTE"])
def test_spellings(filled: Any, spelling: str) -> None:
    assert "/orders" in filled("get", spelling).stdout


@pytest.mark.parametrize("spelling", ["rate-limit", "rate_limits", "ratelimits"])
def test_spellings_of_two_words(filled: Any, admin: FakeAdmin, spelling: str) -> None:
    admin.sections["rate_limits"]["l"] = {
        "name": "l",
        "per_second": 5.0,
        "burst": 9,
        "key": "subject",
        "mode": "local",
    }
    assert "5/s, burst 9" in filled("get", spelling).stdout


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (
            {"requests": 600, "per": "minute", "burst": None, "key": "api_key"},
            ("600/minute, burst 600", "api_key"),
        ),
        (
            {"requests": 600, "per": "day", "burst": 5, "key": ["address", "route"]},
            ("600/day, burst 5", "address, route"),
        ),
        ({"max_concurrent": 4, "key": "subject"}, ("4 under way", "subject")),
        (
            {"per_second": 1.0, "burst": 2, "enforce": "shadow", "key": "route"},
            ("1/s, burst 2; enforce shadow",),
        ),
    ],
)
def test_a_limit_in_every_form(
    filled: Any, admin: FakeAdmin, fields: dict[str, object], shown: tuple[str, ...]
) -> None:
    admin.sections["rate_limits"]["l"] = {"name": "l", "mode": "local", **fields}
    row = " ".join(filled("get", "rate-limits").stdout.split())
    assert all(words in row for words in shown)


def test_everything_as_a_document(filled: Any, admin: FakeAdmin) -> None:
    assert json.loads(filled("get", "all", "-o", "json").stdout)["routes"] == [ORDERS]
    shown = filled("get", "all", "-o", "yaml").stdout
    assert list(yaml.safe_load(shown)) == ["routes", "scopes"]
    assert filled("apply", "-f", "-", input=shown).stdout.endswith("2 unchanged\n")
    lines = filled("get", "all").stdout.splitlines()
    assert [line.split()[0] for line in lines if line] == ["ROUTE", "orders", "SCOPE", "a/b"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("all", "x"),
        ("all", "-w"),
        ("routes", "-w", "-o", "yaml"),
        ("routes", "--show-labels", "-o", "json"),
        ("all", "--show-labels", "-o", "yaml"),
        ("instances", "--show-labels"),
    ],
)
def test_gets_that_make_no_sense(filled: Any, admin: FakeAdmin, arguments: tuple[str, ...]) -> None:
    admin.requests.clear()
    assert (filled("get", *arguments).exit_code, admin.requests) == (2, [])


@pytest.mark.parametrize("width", [50, 80, 120])
def test_no_word_is_broken_on_a_narrow_screen(
    filled: Any, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(render, "screen_width", lambda: width)
    expected = (
        "orders",
        "/orders",
        "GET,",
        "POST",
        "orders:read",
        "2026-01-01T00:00:00.000Z",
        "gateway-1",
        "answered",
    )
    output = "".join(filled("get", kind).stdout for kind in ("routes", "instances", "dataplanes"))
    assert set(expected) <= set(output.split())
    assert max(map(len, output.splitlines())) <= width


def test_a_row_that_fits_no_line_is_a_block(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "screen_width", lambda: 30)
    assert filled("get", "routes").stdout.splitlines() == [
        "ROUTE    orders",
        "MATCH    /orders",
        "HOSTS    any",
        "METHODS  GET, POST",
        "SERVICE  orders",
        "ACCESS   orders:read",
        "LIMITS   burst",
    ]


def test_a_pipe_gets_whole_lines(filled: Any, admin: FakeAdmin) -> None:
    admin.sections["scopes"]["long"] = {"name": "long", "description": "x" * 20_000}
    assert f"long   {'x' * 20_000}" in filled("get", "scopes").stdout.splitlines()


def test_a_kind_that_does_not_exist(filled: Any, admin: FakeAdmin) -> None:
    admin.requests.clear()
    result = filled("get", "pods")
    assert (result.exit_code, admin.requests) == (2, [])
    assert result.stderr == f"headgate: there is no kind 'pods': it must be one of {', '.join(KINDS)}\n"


def test_json_is_what_the_api_answers(filled: Any) -> None:
    assert json.loads(filled("get", "routes", "-o", "json").stdout) == [ORDERS]
    assert json.loads(filled("get", "route", "orders", "-o", "json").stdout) == ORDERS


def test_yaml_can_be_applied_again(filled: Any, admin: FakeAdmin) -> None:
    shown = filled("get", "route", "orders", "-o", "yaml").stdout
    assert "path" not in yaml.safe_load(shown)["routes"][0]
    assert filled("apply", "-f", "-", input=shown).stdout.endswith("1 unchanged\n")


def test_a_name_may_hold_any_character(filled: Any, admin: FakeAdmin) -> None:
    assert "Odd" in filled("get", "scope", "a/b c").stdout
    assert filled("delete", "scope", "a/b c").exit_code == 0


def test_a_resource_that_does_not_exist(filled: Any) -> None:
    result = filled("get", "route", "nope")
    assert (result.exit_code, result.stderr) == (1, "headgate: there is no route 'nope'\n")


def test_instances_of_all_services(filled: Any) -> None:
    lines = filled("get", "instances").stdout.splitlines()
    assert len(lines) == 3
    assert "127.0.0.1:9001" in lines[1]
    assert "answered 500" in lines[2]
    assert json.loads(filled("get", "instance", "b", "-o", "json").stdout)["status"] == "unhealthy"
    assert filled("get", "instance", "nope").exit_code == 1


def test_data_planes_and_what_they_refused(filled: Any) -> None:
    row = filled("get", "dataplanes").stdout.splitlines()[1]
    assert "gateway-1" in row
    assert "revision 42 at 2026-01-01T00:00:01.000Z: route/x: too many" in row


def test_delete(filled: Any, admin: FakeAdmin) -> None:
    assert filled("delete", "route", "orders").stdout == "Deleted route orders\n"
    assert not admin.sections["routes"]
    result = filled("delete", "route", "orders")
    assert (result.exit_code, result.stderr) == (1, "headgate: there is no route 'orders'\n")


@pytest.mark.parametrize("kind", ["route", "routes"])
def test_a_kind_is_named_in_the_singular_or_the_plural(filled: Any, admin: FakeAdmin, kind: str) -> None:
    assert filled("delete", kind, "orders").stdout == "Deleted route orders\n"
    assert "orders" not in admin.sections["routes"]


@pytest.mark.parametrize("spelled", ["limit", "limits", "rate_limits", "RateLimit", "rate-limit"])
def test_spellings_of_a_kind(spelled: str) -> None:
    assert find_kind(spelled).plural == "rate-limits"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sevrices", "orders"], "there is no kind 'sevrices': did you mean services? it must be one of"),
        (["orders", "service"], "the kind comes first: headgate delete service orders"),
        (["service/orders"], "kind and name are two words: service orders"),
        (
            ["services", "orders", "payments"],
            "one name of a service is needed, and 'orders' 'payments' was given: headgate delete service NAME",
        ),
        (["services"], "one name of a service is needed, and none was given: headgate delete service NAME"),
    ],
)
def test_what_was_mistyped_is_told_and_nothing_deleted(
    filled: Any, admin: FakeAdmin, words: list[str], told: str
) -> None:
    admin.requests.clear()
    result = filled("delete", *words)
    assert (result.exit_code, admin.requests) == (2, [])
    assert result.stderr.startswith(f"headgate: {told}")


def test_a_view_cannot_be_deleted(filled: Any) -> None:
    result = filled("delete", "dataplane", "gateway-1")
    assert result.exit_code == 2
    assert (
        "services, routes, scopes, users, rate-limits, certificates, listeners, pools, issuers"
        in result.stderr
    )
    assert "dataplanes" not in result.stderr


def test_status(filled: Any) -> None:
    output = filled("status").stdout
    assert "Control plane http://127.0.0.1:8080  version 1.2.3, ok, revision 1" in output
    assert "gateway-1" in output
    assert words(output.splitlines()[-1])[1].strip() == "1/2"
    assert "1 healthy, 1 unhealthy" in output


def test_status_through_the_gateway(filled: Any, admin: FakeAdmin) -> None:
    """There `/health` is answered by the data plane that passes /api/v1 on."""
    admin.node = "gateway-1"
    output = filled("status").stdout
    assert "Data plane gateway-1 http://127.0.0.1:8080  version 1.2.3, ok, revision 1" in output
    assert "Control plane" not in output


def test_status_for_programs(filled: Any) -> None:
    seen = json.loads(filled("status", "-o", "json").stdout)
    assert set(seen) == {"controlplane", "dataplanes", "services", "circuits"}
    assert yaml.safe_load(filled("status", "-o", "yaml").stdout) == seen


def test_circuits(filled: Any) -> None:
    output = filled("circuits").stdout
    assert "Circuit opened after 5 failures" in output
    assert json.loads(filled("circuits", "-o", "json").stdout) == CIRCUITS


def test_reset(filled: Any, admin: FakeAdmin) -> None:
    assert filled("circuits", "reset", "orders").exit_code == 0
    assert admin.resets == ["orders"]
    result = filled("circuits", "reset", "nope")
    assert (result.exit_code, result.stderr) == (1, "headgate: there is no service 'nope'\n")


def test_what_is_shown_is_not_taken_for_markup(filled: Any, admin: FakeAdmin) -> None:
    admin.sections["scopes"]["m"] = {"name": "m", "description": "[bold]not[/bold] \x1b[31mred"}
    output = filled("get", "scopes").stdout
    assert "[bold]not[/bold]" in output
    assert "\\x1b[31mred" in output


COMMANDS = [
    *("login", "logout", "whoami", "context", "apply", "diff", "get", "reference"),
    *("edit", "delete", "drain", "status", "circuits"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(run: Any, command: str) -> None:
    assert f"headgate {command}" in run(command, "--help").stdout


def test_version(run: Any) -> None:
    assert run("--version").stdout.startswith("headgate 0.")


def test_the_library_does_not_load_the_extra() -> None:
    code = "import sys, headgate; print([m for m in ('typer', 'rich', 'httpx', 'yaml') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_without_the_extra_one_line_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['typer'] = None; import headgate.cli; headgate.cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "headgate: the command line is an extra; install it with: pip install 'headgate-sdk[cli]'\n"
    )


def test_labels_choose(logged_in: Any, admin: FakeAdmin) -> None:
    for number, labels in enumerate(({"team": "shop", "tier": "1"}, {"team": "shop"}, {"team": "pay"}, {})):
        admin.sections["routes"][f"r{number}"] = {"name": f"r{number}", "labels": labels}

    def names(*arguments: str) -> list[str]:
        result = logged_in("get", *arguments, "-o", "json")
        assert result.exit_code == 0, result.stderr
        found = json.loads(result.stdout)
        return [row["name"] for row in (found["routes"] if isinstance(found, dict) else found)]

    assert names("routes", "-l", "team=shop") == ["r0", "r1"]
    assert names("routes", "-l", "team=shop", "--label", "tier") == ["r0"]
    assert names("all", "-l", "team=pay") == ["r2"]


@pytest.mark.parametrize("words", [("route", "r", "-l", "a"), ("instances", "-l", "a=b")])
def test_labels_are_of_resources(logged_in: Any, admin: FakeAdmin, words: tuple[str, ...]) -> None:
    result = logged_in("get", *words)
    assert (result.exit_code, admin.requests) == (2, [])
    assert result.stderr.startswith("headgate: --label chooses from all resources of a kind")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"service_name": "orders"}, "orders"),
        ({"services": [{"service_name": "a", "weight": 9}, {"weight": 1}]}, "a 9, (500) 1"),
        (
            {"service_name": "a", "mirrors": [{"service_name": "b"}, {"service_name": "c"}]},
            "a (copies: b, c)",
        ),
    ],
)
def test_where_requests_of_a_route_go(fields: dict[str, Any], shown: str) -> None:
    assert shown in [cell(fields) for cell in find_kind("routes").columns.values()]
