"""headgate top: the live fleet and its traffic."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headgate.cli.event_stream import Event
from headgate.cli.failure import USAGE, Failure
from headgate.cli.following import follow
from headgate.cli.options import OutputOption, show
from headgate.cli.render import Output, holds_unicode, print_line, print_table, printable, styled

TRAFFIC = "traffic"
SLOW, FAILING = 1.0, 0.01
"""Seconds and share of errors from which a figure is marked."""
LEAST_ROWS = 3
DATAPLANES = [
    "DATA PLANE",
    "VERSION",
    "REVISION",
    "LAG",
    "REQ/S",
    "ERRORS",
    "P50",
    "P99",
    "IN FLIGHT",
    "MEMORY",
]
SERVICES = ["SERVICE", "REQ/S", "ERRORS", "P50", "P99", "HEALTHY", "CIRCUIT"]
ROUTES = ["ROUTE", "SERVICE", "REQ/S", "4XX/S", "5XX/S", "ERRORS"]
OnceOption = Annotated[bool, typer.Option("--once", help="Show the figures once.")]

Row = Mapping[str, Any]


def top(ctx: typer.Context, once: OnceOption = False, output: OutputOption = Output.TABLE) -> None:
    """Show the live fleet and its traffic, until Ctrl-C.

    Data planes, services and routes, the busiest first. LAG is the number of revisions that a data plane is behind.
    JSON has one object on each line. With --once, and into a pipe, figures are shown once. Data planes measure only
    while somebody watches: the first figures take some seconds.

    \b
    headgate top
    headgate top --once
    headgate top -o json
    """
    if output is Output.YAML and not once:
        raise Failure("-o yaml needs --once", USAGE)
    live = not once and (output is Output.JSON or sys.stdout.isatty())
    with ctx.obj.api() as api:
        if not live:
            seen = api.get(TRAFFIC)
            show(output, seen, lambda: print_once(seen))
        elif output is Output.JSON:
            follow(api, {"type": TRAFFIC}, _print_json)
        else:
            console = Console(file=sys.stdout, highlight=False)
            waiting = Text("waiting for the first figures …", style="dim")
            with Live(waiting, console=console, screen=True, auto_refresh=False) as screen:

                def draw(event: Event) -> None:
                    if event[0] == TRAFFIC:
                        screen.update(drawn(event[1], console.height), refresh=True)

                follow(api, {"type": TRAFFIC}, draw)


def _print_json(event: Event) -> None:
    if event[0] == TRAFFIC:
        sys.stdout.write(json.dumps(event[1], ensure_ascii=not holds_unicode()) + "\n")
        sys.stdout.flush()


def print_once(seen: Row) -> None:
    """All figures as text."""
    print_line((head(seen), "bold"))
    for columns, rows, nothing in _sections(seen):
        print_line("")
        print_table(columns, rows, nothing=nothing)


def drawn(seen: Row, height: int) -> Group:
    """What fits on a screen of this many lines: small sections whole, and large ones share what is left."""
    sections = _sections(seen)
    # A title, and for each section a blank line, the columns, and a line that counts the rest.
    room = max(LEAST_ROWS * len(sections), height - 2 - 3 * len(sections))
    shares = _shares([len(rows) for _, rows, _ in sections], room)
    parts: list[Table | Text] = [Text(head(seen), style="bold")]
    for (columns, rows, nothing), share in zip(sections, shares, strict=True):
        parts += [Text(""), _table(columns, rows[:share]) if rows else Text(nothing, style="dim")]
        if more := len(rows) - share:
            parts.append(Text(f"and {more} more", style="dim"))
    return Group(*parts)


def _shares(sizes: list[int], room: int) -> list[int]:
    """The lines of each section, the smallest first served."""
    shares = [0] * len(sizes)
    for taken, at in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[at] = min(sizes[at], room // (len(sizes) - taken))
        room -= shares[at]
    return shares


def head(seen: Row) -> str:
    """The fleet in one line."""
    total, planes = seen["total"], seen["dataplanes"]
    connected = sum(bool(one["connected"]) for one in planes)
    return (
        f"revision {seen['revision']}   data planes {connected}/{len(planes)}   "
        f"{_rate(total['requests_per_second'])} requests/s   errors {_share(total['error_share'])}   "
        f"p50 {_seconds(total['p50'])}   p99 {_seconds(total['p99'])}"
    )


def _sections(seen: Row) -> list[tuple[list[str], list[list[str]], str]]:
    planes = sorted(seen["dataplanes"], key=_trouble)
    return [
        (DATAPLANES, [_dataplane(one) for one in planes], "no data planes"),
        (SERVICES, [_service(one) for one in seen["services"]], "no requests to services"),
        (ROUTES, [_route(one) for one in seen["routes"]], "no requests"),
    ]


def _trouble(one: Row) -> tuple[bool, bool, float, str]:
    """Those that are gone, or reject or lag first; then the busiest."""
    behind = bool(one["rejected_revision"]) or one["behind"] > 0
    return bool(one["connected"]), not behind, -(one["requests_per_second"] or 0.0), one["node"]


def _dataplane(one: Row) -> list[str]:
    rejected = one["rejected_revision"]
    lag = "gone" if not one["connected"] else f"rejects {rejected}" if rejected else _count(one["behind"])
    return [
        printable(one["node"]),
        printable(one["version"]),
        str(one["applied_revision"]),
        lag,
        _rate(one["requests_per_second"]),
        _share(one["error_share"]),
        _seconds(one["p50"]),
        _seconds(one["p99"]),
        _count(one["in_flight"]),
        _bytes(one["memory_bytes"]),
    ]


def _service(one: Row) -> list[str]:
    return [
        printable(one["service_name"]),
        _rate(one["requests_per_second"]),
        _share(one["error_share"]),
        _seconds(one["p50"]),
        _seconds(one["p99"]),
        f"{one['healthy']}/{one['total']}",
        one["circuit"],
    ]


def _route(one: Row) -> list[str]:
    return [
        printable(one["name"]) or "(none)",
        printable(one["service_name"] or ""),
        _rate(one["requests_per_second"]),
        _rate(one["client_errors_per_second"]),
        _rate(one["server_errors_per_second"]),
        _share(one["error_share"]),
    ]


def _table(columns: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(
            column, justify="left" if number == 0 else "right", no_wrap=True, overflow="ellipsis"
        )
    for row in rows:
        table.add_row(*(Text(one, style=_style(one)) for one in row))
    return table


def _style(word: str) -> str:
    if word.startswith("rejects") or (word.endswith("%") and float(word[:-1]) >= FAILING * 100):
        return "red"
    if word.endswith(" s") and float(word[:-2]) >= SLOW:
        return "yellow"
    return styled(word)[1]


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}%"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _bytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 1_000_000:,.0f} MB"
