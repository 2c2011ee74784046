"""The current state of the rate limits, and the reset of a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from headgate.cli.api import AdminApi, ApiError
from headgate.cli.completion import complete_limit, complete_node
from headgate.cli.failure import Failure
from headgate.cli.options import OutputOption, show
from headgate.cli.render import Output, print_line, print_table
from headgate.cli.session import shared
from headgate.cli.spelling import meant

Row = Mapping[str, Any]

_NODES = 2
"""Data planes shown beside a bucket."""
_MOST = "1000"
_CLOSE = 0.75
"""Keys of callers look much alike."""

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
@shared
def show_limits(
    ctx: typer.Context,
    limit: Annotated[
        str | None, typer.Option("--limit", "-l", help="Only this limit.", autocompletion=complete_limit)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", "-k", help="Only this key, as it is shown, or its value.")
    ] = None,
    node: Annotated[
        str | None,
        typer.Option("--node", help="Only buckets of this data plane.", autocompletion=complete_node),
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=1000, help="How many buckets.")] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the rate limits and their buckets, or reset a key.

    It shows the bound in force, the place that counts, and the refused callers.

    \b
    headgate limits
    headgate limits --limit callers -n 100
    headgate limits --key subject:testuser -o json
    headgate limits reset subject:testuser
    """
    if ctx.invoked_subcommand is not None:
        return
    query = {"limit": limit, "key": key, "node": node, "most": str(number)}
    with ctx.obj.api() as api:
        found = fetch(api, {name: value for name, value in query.items() if value is not None})
    show(output, found, lambda: print_limits(found, key))


@app.command()
@shared
def reset(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="As `headgate limits` shows it, such as subject:testuser.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Refill the buckets of a key everywhere.

    On every data plane, at the owners of limits, and in Redis.

    \b
    headgate limits reset subject:testuser
    headgate limits reset address:203.0.113.9
    """
    with ctx.obj.api() as api:
        receipt = reset_key(api, key)
    show(output, receipt, lambda: print_receipt(receipt))


def fetch(api: AdminApi, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """The limits with their buckets. Raises Failure for an unknown limit or data plane."""
    try:
        found: list[dict[str, Any]] = api.get("rate-limits", query=query)
    except ApiError as refused:
        if refused.status != 404:
            raise
        wanted = query.get("limit")
        hint = meant(wanted, _names(api), _CLOSE) if wanted is not None else ""
        raise Failure(f"{refused.detail}{hint}") from refused
    return found


def reset_key(api: AdminApi, key: str) -> dict[str, Any]:
    """Order the reset; returns the refilled buckets. Raises Failure if no bucket has the key."""
    try:
        receipt: dict[str, Any] = api.delete("rate-limits", key)
    except ApiError as refused:
        if refused.status != 404:
            raise
        raise Failure(
            f"no bucket of any limit has the key {key!r}{meant(key, _keys(api), _CLOSE)}"
        ) from refused
    return receipt


def print_limits(found: Sequence[Row], key: str | None = None) -> None:
    """As text: one line for each limit, then one for each bucket; `key` is the requested key, if any."""
    if not found and key is not None:
        print_line(f"No bucket in use has the key {key}.")
        return
    print_table(
        ["LIMIT", "BOUND", "COUNTED", "REFUSED"],
        [[one["name"], _bound(one), _counted(one), one["refused"]] for one in found],
        nothing="no limits",
    )
    for one in found:
        bound = one.get("bound")
        if bound and not bound["holds"]:
            print_line(("The bound does not hold: ", "yellow"), f"{one['name']}: {bound['reason']}")
    buckets = [(one["name"], bucket) for one in found for bucket in one["buckets"]]
    buckets.sort(key=lambda pair: -pair[1]["refused"])
    print_line("")
    print_table(
        ["LIMIT", "KEY", "LEFT", "REFUSED", "DATA PLANES"],
        [
            [name, bucket["key"], f"{bucket['remaining']:.4g}", bucket["refused"], _nodes(bucket)]
            for name, bucket in buckets
        ],
        nothing="no buckets in use",
    )
    if more := sum(one["more"] for one in found):
        print_line(f"{more} more: --number shows up to {_MOST}, --limit, --key and --node choose")


def print_receipt(receipt: Row) -> None:
    """The number of buckets, and their places."""
    count = receipt["buckets"]
    where = ", ".join(f"{name} {number}" for name, number in receipt["limits"].items())
    print_line(f"Reset {count} bucket{'' if count == 1 else 's'} of {receipt['key']}{where and f': {where}'}")
    if receipt["unreached"]:
        print_line(f"Redis did not answer, where these are counted: {', '.join(receipt['unreached'])}")
    if receipt["waiting"]:
        print_line(f"Not heard of yet, and on its way there: {_some(receipt['waiting'])}")
    # An older control plane does not know the field.
    if unreported := receipt.get("unreported"):
        print_line(f"Reset there, but an older version does not say how many: {_some(unreported)}")


def _bound(limit: Row) -> str:
    bound = limit.get("bound")
    if bound is None:
        return "of the data plane's settings"
    said = [f"{bound['burst']} + {bound['per_second']:g}/s"] if bound["burst"] else []
    if bound["under_way"]:
        said.append(f"{bound['under_way']} under way")
    return f"{', '.join(said)}, {'the fleet' if bound['over'] == 'fleet' else 'each data plane'}"


def _counted(limit: Row) -> str:
    if limit.get("mode") == "fleet":
        return str(limit.get("owner") or "no owner now")
    places = {one["counted"] for bucket in limit["buckets"] for one in bucket["dataplanes"].values()}
    return ", ".join(sorted(places)) or str(limit.get("mode") or "")


def _nodes(bucket: Row) -> str:
    listed = [
        f"{node} {one['remaining']:.4g}{' (away)' if one['away'] else ''}"
        for node, one in sorted(bucket["dataplanes"].items())
    ]
    return _some(listed)


def _some(listed: Sequence[str]) -> str:
    more = [f"+{len(listed) - _NODES}"] if len(listed) > _NODES else []
    return ", ".join([*listed[:_NODES], *more])


def _names(api: AdminApi) -> list[str]:
    return [limit["name"] for limit in api.get("rate-limits", query={"most": "1"})]


def _keys(api: AdminApi) -> list[str]:
    found = api.get("rate-limits", query={"most": _MOST})
    return [bucket["key"] for limit in found for bucket in limit["buckets"]]
