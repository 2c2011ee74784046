"""headgate sync: the store as the files say. The plan is shown first, and what is done is what was shown."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import typer

from headgate.cli import changes, options
from headgate.cli.api import AdminApi, ApiError
from headgate.cli.documents import Document, load
from headgate.cli.failure import USAGE, Failure
from headgate.cli.options import (
    DryRunOption,
    Files,
    ForceOption,
    OutputOption,
    QuorumOption,
    TimeoutOption,
    VariablesOption,
    WaitOption,
    finish,
    read_wait,
)
from headgate.cli.pruning import (
    AllOption,
    CertificatesOption,
    EmptyOption,
    LabelsOption,
    Pruning,
    UsersOption,
    YesOption,
    kept,
    read_pruning,
)
from headgate.cli.render import Output, print_line, printable
from headgate.cli.session import Session

_TRIES = 3
"""Plans that are made because other changes come between, if nobody has to agree to them."""
_FEW = 5
"""Resources that are kept and named, of each reason."""


def sync(
    ctx: typer.Context,
    file: Files,
    label: LabelsOption = None,
    everything: AllOption = False,
    users: UsersOption = False,
    certificates: CertificatesOption = False,
    allow_empty: EmptyOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    variables: VariablesOption = True,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    quorum: QuorumOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make the store equal to files: also delete what they leave out.

    The files are compared with the resources that have the labels, or with all. Folders are read with their subfolders.
    The plan is shown first; without --yes the command asks. Everything is done in one change, or nothing; if another
    change came between, nothing. Resources of others stay, such as services with registered instances.

    \b
    headgate sync -f config/ --label team=shop --dry-run
    headgate sync -f config/ --label team=shop
    headgate sync -f config/ --all --yes --wait
    """
    pruning = read_pruning(True, label, everything, users, certificates, allow_empty)
    assert pruning is not None
    waited = read_wait(wait, dry_run, timeout, quorum)
    check_output(output, yes=yes, dry_run=dry_run)
    document = load(file, recursive=True, variables=variables, empty=allow_empty)
    run(ctx.obj, document, pruning, output, waited, yes=yes, dry_run=dry_run, force=force)


def check_output(output: Output, *, yes: bool, dry_run: bool) -> None:
    """Raises Failure if the command would have to ask, and cannot."""
    if yes or dry_run:
        return
    if output is not Output.TABLE:
        raise Failure(
            f"-o {output} prints the receipt alone, and no question: give --yes or --dry-run", USAGE
        )
    options.check_answerable()


def run(
    session: Session,
    document: Document,
    pruning: Pruning,
    output: Output,
    wait: tuple[float, str] | None,
    *,
    yes: bool,
    dry_run: bool,
    force: bool,
) -> None:
    """Plan, show, ask and do."""
    with session.api() as api:
        for left in range(_TRIES if yes else 1, 0, -1):
            plan = changes.send(api, document, dry_run=True, force=force, pruning=pruning)
            if output is Output.TABLE:
                print_plan(plan)
            if dry_run or not _changing(plan):
                # An empty plan is done: it is waited for like a change.
                finish(api, plan, partial(_print_end, dry_run=dry_run), output, wait)
                return
            sys.stdout.flush()
            options.confirm(_question(plan), yes=yes)
            if (receipt := _done(api, document, pruning, plan, force, again=left > 1)) is not None:
                finish(api, receipt, partial(_print_end, dry_run=False), output, wait)
                return


def _done(
    api: AdminApi, document: Document, pruning: Pruning, plan: Mapping[str, Any], force: bool, *, again: bool
) -> dict[str, Any] | None:
    """The receipt; None if another change came between, and it may be planned `again`."""
    try:
        return changes.send(
            api, document, dry_run=False, force=force, pruning=pruning, plan=plan.get("plan", "")
        )
    except ApiError as refused:
        if refused.status != HTTPStatus.PRECONDITION_FAILED:
            raise
        if again:
            return None
        detail = "the configuration was changed after the plan was made; nothing was done"
        raise Failure(f"{detail}: run the command again") from refused


def _changing(plan: Mapping[str, Any]) -> Counter[str]:
    return Counter(one["action"] for one in plan["changes"] if one["action"] != "unchanged")


def _question(plan: Mapping[str, Any]) -> str:
    counted = _changing(plan)
    total, deletions = counted.total(), counted["delete"]
    deleting = f" ({deletions} deletion{'s' if deletions > 1 else ''})" if deletions else ""
    return f"Make {total} change{'s' if total > 1 else ''}{deleting}?"


def print_plan(plan: Mapping[str, Any]) -> None:
    """Every change, with its fields as far as the control plane names them, and what is kept."""
    edits = {(one["kind"], one["name"]): one for one in plan.get("edits") or ()}
    for change in plan["changes"]:
        if change["action"] != "unchanged":
            changes.print_change(change, edits.get((change["kind"], change["name"]), {}))
    for reason, names in kept(plan):
        more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
        print_line(f"Kept: {', '.join(map(printable, names[:_FEW]))}{more}: {printable(reason)}")
    changes.print_warnings(plan)
    words = {"create": "to create", "update": "to update", "delete": "to delete", "unchanged": "unchanged"}
    counted = Counter(one["action"] for one in plan["changes"])
    told = ", ".join(f"{counted[action]} {word}" for action, word in words.items() if counted[action])
    print_line(f"Plan: {told or 'nothing'}")


def _print_end(receipt: Mapping[str, Any], *, dry_run: bool) -> None:
    if dry_run:
        print_line("Dry run, nothing was changed")
    elif not _changing(receipt):
        print_line(f"In sync at revision {receipt['revision']}")
    else:
        print_line(f"Synced at revision {receipt['revision']}")
        changes.print_unfinished(receipt)
