"""headgate instances: the instances of services, and how each data plane judges one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from headgate.cli import reading, resources
from headgate.cli.api import AdminApi, ApiError
from headgate.cli.completion import complete_instance, complete_service
from headgate.cli.failure import Failure
from headgate.cli.kinds import KINDS
from headgate.cli.options import OutputOption, show
from headgate.cli.render import Output, print_line, print_table

Row = Mapping[str, Any]


def instances(
    ctx: typer.Context,
    service: Annotated[
        str | None, typer.Argument(help="Only those of this service.", autocompletion=complete_service)
    ] = None,
    instance: Annotated[
        str | None,
        typer.Argument(
            help="The verdicts of all data planes on this instance, and how they changed.",
            autocompletion=complete_instance,
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the instances of services, or the verdicts on one of them.

    \b
    headgate instances
    headgate instances orders
    headgate instances orders orders-1
    """
    with ctx.obj.api() as api:
        if service is None or instance is None:
            rows = _listed(api, service)
            reading.print_resources(KINDS["instances"], rows, output, one=False)
            return
        found = _verdicts(api, service, instance)
    show(output, found, lambda: print_verdicts(found))


def _listed(api: AdminApi, service: str | None) -> list[dict[str, Any]]:
    rows = resources.fetch(api, KINDS["instances"], None)
    if service is None:
        return rows
    mine = [row for row in rows if row["service_name"] == service]
    services = () if mine else resources.fetch(api, KINDS["services"], None)
    if not mine and service not in {one["service_name"] for one in services}:
        raise resources.absent(api, KINDS["services"], service)
    return mine


def _verdicts(api: AdminApi, service: str, instance: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = api.get("services", service, "instances", instance, "verdicts")
    except ApiError as refused:
        if refused.status != 404:
            raise
        known = {row["instance_id"] for row in _listed(api, service)}
        if instance in known:
            raise Failure("this control plane is older and keeps no verdicts") from refused
        raise Failure(f"service {service} has no instance {instance!r}") from refused
    return found


def print_verdicts(found: Row) -> None:
    """The votes now, and the changes, the newest first."""
    status, why = found["status"] or "gone", f": {found['reason']}" if found["reason"] else ""
    print_line(f"Instance {found['service_name']}/{found['instance_id']} is {status}{why}")
    print_line(
        f"{found['healthy']} healthy, {found['unhealthy']} unhealthy, {found['starting']} without a verdict"
    )
    print_line("")
    judges = [[one["dataplane"], one["status"], one["since"] or ""] for one in found["judges"]]
    print_table(["DATA PLANE", "VERDICT", "SINCE"], judges, nothing="no data plane judges it")
    if rest := found["healthy"] + found["unhealthy"] + found["starting"] - len(judges):
        print_line(f"{rest} more")
    print_line("")
    print_table(
        ["TIME", "WHO", "VERDICT", "BEFORE", "VOTES", "REASON"],
        [_changed(one) for one in found["verdicts"]],
        nothing=f"no changes since {found['noted_since']}",
    )


def _changed(one: Row) -> list[object]:
    votes = f"{one['healthy']} of {one['healthy'] + one['unhealthy']} healthy"
    who = one["dataplane"] or "(the fleet)"
    return [one["at"], who, one["status"], one["previous"] or "", votes, one["reason"]]
