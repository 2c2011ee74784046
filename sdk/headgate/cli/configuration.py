"""The commands for the configuration: apply, diff, history, rollback, and drain."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated

import typer

from headgate.cli import changes, drain, syncing
from headgate.cli import history as past
from headgate.cli.completion import complete_instance, complete_service
from headgate.cli.documents import Document, load
from headgate.cli.failure import USAGE, Failure
from headgate.cli.options import (
    FILE,
    DryRunOption,
    Files,
    ForceOption,
    OutputOption,
    QuorumOption,
    RecursiveOption,
    TimeoutOption,
    VariablesOption,
    WaitOption,
    finish,
    read_wait,
    show,
)
from headgate.cli.pruning import (
    AllOption,
    CertificatesOption,
    EmptyOption,
    LabelsOption,
    PruneOption,
    Pruning,
    UsersOption,
    YesOption,
    read_pruning,
)
from headgate.cli.render import Output, print_line
from headgate.cli.session import Session


def apply(
    ctx: typer.Context,
    file: Files,
    recursive: RecursiveOption = False,
    prune: PruneOption = False,
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
    """Create and update what files declare.

    Either everything is applied or, on any problem, nothing. With --prune it is `headgate sync`: what has the labels
    and is not in the files is deleted.

    \b
    headgate apply -f examples/demo.yaml
    headgate apply -f config/ --dry-run
    headgate apply -f config/ --wait --timeout 30
    headgate apply -f config/ --wait --quorum 50%
    headgate apply -R -f config/ -f extra.yaml
    headgate apply -f config/ --prune --label team=shop
    generate | headgate apply -f - -o json
    """
    waited = read_wait(wait, dry_run, timeout, quorum)
    pruning = read_pruning(prune, label, everything, users, certificates, allow_empty)
    if pruning is not None:
        syncing.check_output(output, yes=yes, dry_run=dry_run)
        document = load(file, recursive=True, variables=variables, empty=allow_empty)
        syncing.run(ctx.obj, document, pruning, output, waited, yes=yes, dry_run=dry_run, force=force)
        return
    document = load(file, recursive=recursive, variables=variables)
    with ctx.obj.api() as api:
        receipt = changes.send(api, document, dry_run=dry_run, force=force)
        table = partial(changes.print_receipt, dry_run=dry_run)
        finish(api, receipt, table, output, waited)


def diff(
    ctx: typer.Context,
    revisions: Annotated[
        list[int] | None, typer.Argument(metavar="REVISION", help="Two revisions, instead of files.")
    ] = None,
    file: Annotated[list[str] | None, FILE] = None,
    recursive: RecursiveOption = False,
    prune: PruneOption = False,
    label: LabelsOption = None,
    everything: AllOption = False,
    users: UsersOption = False,
    certificates: CertificatesOption = False,
    allow_empty: EmptyOption = False,
    variables: VariablesOption = True,
    output: OutputOption = Output.TABLE,
    exit_code: Annotated[bool, typer.Option("--exit-code", hidden=True)] = False,
) -> None:
    """Show what `apply` would change, or how two revisions differ.

    Exits with 0 for no difference, 1 for a difference, and 2 for a failure. With --prune, what `sync` would change.

    \b
    headgate diff -f examples/demo.yaml
    headgate diff -R -f config/
    headgate diff -f config/ --prune --label team=shop
    headgate diff 57 61
    """
    if bool(file) == bool(revisions) or len(revisions or (0, 0)) != 2:
        raise Failure("name either files with -f, or two revisions", USAGE)
    pruning = read_pruning(prune, label, everything, users, certificates, allow_empty)
    try:
        if revisions:
            found = _between(ctx.obj, revisions, output)
        else:
            document = load(file or [], recursive=recursive or prune, variables=variables, empty=allow_empty)
            found = _difference(ctx.obj, document, pruning, output)
        sys.stdout.flush()  # while a failure can still be told from a difference
    except Failure as failure:
        failure.exit_code = max(failure.exit_code, USAGE)
        raise
    if found:
        raise typer.Exit(1)


def _between(session: Session, revisions: list[int], output: Output) -> bool:
    """Print the difference of two revisions; returns whether there is one."""
    with session.api() as api:
        edits = past.diff(api, *revisions)
    show(output, edits, lambda: changes.print_edits(edits))
    return bool(edits)


def _difference(session: Session, document: Document, pruning: Pruning | None, output: Output) -> bool:
    """Print the difference from files; returns whether there is one."""
    with session.api() as api:
        found = changes.compare(api, document, pruning)
    show(output, [change.as_dict() for change in found], lambda: changes.print_comparison(found))
    return bool(found)


def history(
    ctx: typer.Context,
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=1000, help="How many changes.")] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the changes of the configuration, with author and time.

    The newest change comes first.

    \b
    headgate history
    headgate history -n 100 -o json
    """
    with ctx.obj.api() as api:
        records = past.history(api, number)
    show(output, records, lambda: past.print_history(records))


def rollback(
    ctx: typer.Context,
    to: Annotated[
        int, typer.Option("--to", min=1, metavar="REVISION", help="Revision, as `headgate history` shows it.")
    ],
    users: Annotated[
        bool, typer.Option("--users", help="Restore users too, including scopes that were revoked since.")
    ] = False,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    quorum: QuorumOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Restore the configuration of a revision.

    This is a new change. Users are not changed unless --users is given; passwords are never changed.

    \b
    headgate rollback --to 57 --dry-run
    headgate rollback --to 57 --wait
    """
    waited = read_wait(wait, dry_run, timeout, quorum)
    with ctx.obj.api() as api:
        receipt = past.rollback(api, to, users=users, dry_run=dry_run, force=force)
        table = partial(
            changes.print_receipt, dry_run=dry_run, done="Rolled back", nothing="it was like this already"
        )
        finish(api, receipt, table, output, waited)


def drain_instance(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(help="Name of the service.", autocompletion=complete_service)],
    instance: Annotated[
        str,
        typer.Argument(
            envvar="HEADGATE_INSTANCE", help="Id of the instance.", autocompletion=complete_instance
        ),
    ],
    timeout: Annotated[float, typer.Option(min=0, max=300, help="Seconds to wait at most.")] = 20.0,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let a draining instance take requests again.")
    ] = False,
) -> None:
    """Stop new requests to an instance before it is stopped.

    The command returns when the requests under way are done: then the instance can be stopped. It stays registered,
    draining, until it is stopped, registers again, or --undo ends the draining. With a service's
    token in HEADGATE_TOKEN (and HEADGATE_CONTROLPLANE, HEADGATE_CA), as in a Kubernetes preStop, the command calls the
    registry; otherwise the admin API. HEADGATE_INSTANCE names the instance, for a preStop without a shell.

    \b
    headgate drain orders orders-1
    headgate drain orders "$(hostname)-9000" --timeout 25
    headgate drain orders orders-1 --undo
    """
    # As the SDK: a variable that comes from a file may end in a line break.
    instance = instance.strip()
    if undo:
        drain.undo(ctx.obj, service, instance)
        print_line(f"Instance {service}/{instance} takes requests again")
        return
    drain.drain(ctx.obj, service, instance, timeout)
    print_line(f"Instance {service}/{instance} is drained")
