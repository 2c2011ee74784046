"""headgate explain: what the gateway would decide about a request, step by step."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from headgate.cli.completion import complete_node
from headgate.cli.failure import Failure
from headgate.cli.options import OutputOption, show
from headgate.cli.render import Output, print_line, print_table

Row = Mapping[str, Any]

_LONGEST_TOKEN = 16_384


def explain(
    ctx: typer.Context,
    method: Annotated[str, typer.Argument(help="Method of the request, such as GET.")],
    url: Annotated[str, typer.Argument(help="URL of the request, or only its path and query.")],
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", help="Header of the request, as 'Name: value'; may be given often."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Bearer token of the request; - reads it from standard input."),
    ] = None,
    client: Annotated[str, typer.Option(help="IP address of the client.")] = "127.0.0.1",
    at: Annotated[
        int | None,
        typer.Option(
            min=1, help="Revision of the configuration, from `headgate history`; by default, the served one."
        ),
    ] = None,
    dataplane: Annotated[
        str | None,
        typer.Option(help="Data plane that explains; by default, any.", autocompletion=complete_node),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Explain each decision about a request, without sending it.

    A data plane decides with its own routes, buckets, breakers and instances, and changes none of them. Headers and the
    token are neither logged nor kept.

    \b
    headgate explain GET http://localhost:8000/orders
    headgate explain POST /orders -H 'Content-Length: 100' --client 203.0.113.9
    echo $TOKEN | headgate explain GET /orders --token -
    headgate explain GET /orders --at 42
    """
    asked: dict[str, Any] = {
        "method": method.upper(),
        "url": url,
        "headers": read_headers(header or []),
        "client": client,
        "token": _read_token(token),
        "at": at,
        "dataplane": dataplane,
    }
    content = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
    with ctx.obj.api() as api:
        found = api.post("explain", content=content)
    show(output, found, lambda: print_explanation(f"{method.upper()} {url}", found))


def read_headers(given: Sequence[str]) -> dict[str, str]:
    """Headers by name; those given twice are joined. Raises Failure, which quotes nothing after a colon."""
    found: dict[str, str] = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon or not name.strip():
            raise Failure("--header must be 'Name: value'", 2)
        name, value = name.strip(), value.strip()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def print_explanation(request: str, found: Row) -> None:
    """As text: the outcome, the steps, and the facts behind them."""
    if found["status"] is None:
        outcome = f"is forwarded to instance {found['instance']} of service {found['service']}"
    else:
        outcome = f"gets {found['status']}: {found['detail'] or found['decision']}"
    print_line(f"{request} {outcome}")
    print_line(f"Data plane {found['dataplane']}, worker {found['worker']}, revision {found['revision']}")
    print_line("")
    print_table(
        ["STEP", "RESULT", "WHY"],
        [[one["stage"], one["outcome"].replace("_", " "), one["text"]] for one in found["steps"]],
    )
    _print_of_now(found)
    details = {one["stage"]: one["details"] for one in found["steps"]}
    _print_lost(details["route"])
    _print_limits([*details["early_limits"].get("limits", ()), *details["late_limits"].get("limits", ())])
    _print_instances(details["instance"].get("instances", ()))


def _print_of_now(found: Row) -> None:
    """What is not of the revision that was asked about."""
    # A control plane of an earlier version does not say.
    facts = dict.fromkeys(fact for one in found["steps"] for fact in one.get("of_now", ()))
    if facts:
        print_line("")
        print_line(f"Of now, and not of revision {found['revision']}: {', '.join(facts)}")


def _print_lost(route: Row) -> None:
    if lost := route.get("lost"):
        print_line("")
        rows = [
            [one["name"], one.get("path") or f"{one['prefix'].rstrip('/')}/*", one["reason"]] for one in lost
        ]
        print_table(["OTHER ROUTE", "PATH", "WHY NOT"], rows)
    if more := route.get("more_lost"):
        print_line(f"{more} more")


def _print_limits(limits: Sequence[Row]) -> None:
    if limits:
        print_line("")
        print_table(["LIMIT", "KEY", "LEFT", "RETRY AFTER"], map(_limit, limits))


def _limit(one: Row) -> list[object]:
    if "under_way" in one:
        return [
            one["name"],
            one["key"],
            f"{one['most_here'] - one['under_way']} of {one['most_here']} under way",
            "",
        ]
    left = f"{one['remaining']:.4g} of {one['burst']}"
    wait = f"{one['retry_after']:.3g} s" if "retry_after" in one else ""
    return [one["name"], one["key"], f"{left}{' (no answer)' if one.get('away') else ''}", wait]


def _print_instances(instances: Sequence[Row]) -> None:
    if instances:
        print_line("")
        rows = [[one["id"], _state(one), one["weight"], one["in_flight"]] for one in instances]
        print_table(["INSTANCE", "STATE", "WEIGHT", "UNDER WAY"], rows)


def _state(one: Row) -> str:
    return f"ejected, {one['returns_in']:.3g} s left" if "returns_in" in one else str(one["state"])


def _read_token(token: str | None) -> str | None:
    if token != "-":  # noqa: S105  # stands for standard input
        return token
    read = sys.stdin.read(_LONGEST_TOKEN).strip()
    if not read:
        raise Failure("standard input has no token", 2)
    return read
