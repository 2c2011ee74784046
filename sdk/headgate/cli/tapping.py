"""headgate tap: the next requests that match, as they end."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from headgate.cli.completion import complete_node, complete_service
from headgate.cli.options import OutputOption
from headgate.cli.render import Output, holds_unicode, print_line, print_yaml

Row = Mapping[str, Any]


def tap(
    ctx: typer.Context,
    route: Annotated[str | None, typer.Option(help="Only requests of this route.")] = None,
    service: Annotated[
        str | None, typer.Option(help="Only requests to this service.", autocompletion=complete_service)
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="Only responses of this status, or of this class, such as 5xx.")
    ] = None,
    dataplane: Annotated[
        str | None,
        typer.Option(
            help="Only requests to this data plane; by default, to all.", autocompletion=complete_node
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=1000, help="End after so many requests.")
    ] = 20,
    seconds: Annotated[int, typer.Option("--for", min=1, max=600, help="End after so many seconds.")] = 60,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the next requests that match, as they end.

    Secret values are not shown. Needs the scope gateway:tap, and is logged with the user's name. Of many requests, each
    data plane shows some of each second. With -o json, each line is an object with all fields and headers.

    \b
    headgate tap
    headgate tap --service orders --status 5xx
    headgate tap --route orders -n 100 --for 300 -o json
    """
    query = {
        "route": route,
        "service": service,
        "status": status,
        "dataplane": dataplane,
        "count": str(count),
        "seconds": str(seconds),
    }
    asked = {name: value for name, value in query.items() if value is not None}
    try:
        with ctx.obj.api() as api, api.events("tap", query=asked) as events:
            for kind, data in events:
                _show(kind, data, output)
    except KeyboardInterrupt:
        return


def _show(kind: str, data: Row, output: Output) -> None:
    if kind == "request":
        _print_request(data, output)
        sys.stdout.flush()
    elif kind == "end":
        for line in end_of(data):
            typer.echo(f"headgate: {line}", err=True)


def _print_request(request: Row, output: Output) -> None:
    if output is Output.JSON:
        sys.stdout.write(json.dumps(request, ensure_ascii=not holds_unicode()) + "\n")
    elif output is Output.YAML:
        print_yaml([request])
    else:
        print_line(line_of(request))


def line_of(request: Row) -> str:
    """A request as one line."""
    query = f"?{request['query']}" if request.get("query") else ""
    to = "/".join(filter(None, (request["service"], request["instance"])))
    why = "" if request["decision"] == "forwarded" else f" {request['decision']}"
    reason = f" ({request['reason']})" if request.get("reason") else ""
    place = f" {request['route'] or 'no route'}{f' -> {to}' if to else ''}"
    return (
        f"{request['time']} {request['status']} {request['method']} {request['host']}{request['path']}{query}"
        f"{place} {request['duration_us'] / 1000:.1f} ms{why}{reason}"
    )


def end_of(data: Row) -> list[str]:
    """The sentences after the last request."""
    said = [f"data plane {node}: {problem}" for node, problem in data["problems"].items()]
    if data["skipped"]:
        said.append(f"{data['skipped']} more requests matched and are not shown")
    return said
