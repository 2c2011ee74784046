"""headgate delete: one resource by its name, or those that files declare."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from headgate.cli import options, resources
from headgate.cli.api import AdminApi, ApiError
from headgate.cli.completion import complete_kind_or_name
from headgate.cli.documents import Document, load
from headgate.cli.failure import FAILED, USAGE, Failure
from headgate.cli.kinds import KINDS, RESOURCE_KINDS, SPELLINGS, Kind, find_resource
from headgate.cli.options import FILE, DryRunOption, RecursiveOption, VariablesOption
from headgate.cli.render import print_line

Target = tuple[Kind, str]

_ORDER = ("route", "user", "service", "rate_limit", "scope")
"""Order of deletion: resources before those to which they refer."""


def delete(
    ctx: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KIND NAME",
            help=f"Kind, one of {', '.join(kind.singular for kind in KINDS.values() if kind.writable)}, and name.",
            autocompletion=complete_kind_or_name,
        ),
    ] = None,
    file: Annotated[list[str] | None, FILE] = None,
    recursive: RecursiveOption = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before the resources of files are deleted.")
    ] = False,
    dry_run: DryRunOption = False,
    variables: VariablesOption = True,
    force: Annotated[
        bool, typer.Option("--force", help="Also built-in resources, such as the route headgate-api.")
    ] = False,
) -> None:
    """Delete a resource, or all that files declare.

    A resource that another one still uses is not deleted. Of files only kinds and names count. Missing resources are
    skipped. Resources are deleted one by one, routes and users first; when one is refused, those before it are
    deleted. A dry run names the resources that still use them.

    \b
    headgate delete route orders
    headgate delete -f old.yaml --dry-run
    headgate delete -f old.yaml --yes
    """
    if what and not file and Path(what[0]).exists() and what[0] not in SPELLINGS:
        raise Failure(f"to delete what a file declares: headgate delete -f {what[0]}", USAGE)
    if bool(what) == bool(file):
        raise Failure("name either a kind and a name, or files with -f", USAGE)
    if file:
        _delete_declared(
            ctx, load(file, recursive=recursive, variables=variables), yes=yes, dry_run=dry_run, force=force
        )
        return
    kind, name = find_resource(what or (), "delete")
    with ctx.obj.api() as api:
        if dry_run:
            resources.check_dry_run(api, "delete", "deletion")
            resources.delete(api, kind, name, force=force, dry_run=True)
            print_line(f"Dry run, nothing was changed: would delete {kind.singular} {name}")
            return
        resources.delete(api, kind, name, force=force)
    print_line(f"Deleted {kind.singular} {name}")


def _delete_declared(
    ctx: typer.Context, document: Document, *, yes: bool, dry_run: bool, force: bool
) -> None:
    targets = _targets(document)
    if not (yes or dry_run):
        options.check_answerable()
    with ctx.obj.api() as api:
        there = _present(api, targets)
        for kind, name in there:
            print_line(("-", "red"), f" {kind.resource} {name}")
        absent = f", {len(targets) - len(there)} not there" if len(there) < len(targets) else ""
        if dry_run:
            _try_all(api, there, force=force)
            print_line(f"Dry run, nothing was changed: {len(there)} would be deleted{absent}")
            return
        if not there:
            print_line(f"Nothing to delete{absent}")
            return
        options.confirm(f"Delete {len(there)} resource{'s' if len(there) > 1 else ''}?", yes=yes)
        _delete_all(api, there, force=force)
    print_line(f"{len(there)} deleted{absent}")


def _targets(document: Document) -> list[Target]:
    """Resources named in the files, in the order in which they can be deleted. Raises Failure for an entry without a
    name."""
    unknown = [section for section in document.sections if section not in _sections()]
    if unknown:
        raise Failure(f"{unknown[0]}: unknown section; there are {', '.join(_sections())}")
    problems = []
    found: dict[tuple[str, str], Target] = {}
    for kind in sorted(RESOURCE_KINDS, key=lambda kind: _rank(kind.resource)):
        for position, entry in enumerate(document.sections.get(kind.section) or ()):
            name = entry.get(kind.key) if isinstance(entry, dict) else None
            if isinstance(name, str) and name:
                found[kind.section, name] = (kind, name)
            else:
                problems.append({"field": f"{kind.section}[{position}]", "detail": f"{kind.key} is missing"})
    if problems:
        located = [f"{problem['field']}: {problem['detail']}" for problem in document.located(problems)]
        raise Failure("the files have problems; nothing was deleted\n  " + "\n  ".join(located))
    return list(found.values())


def _sections() -> list[str]:
    return [kind.section for kind in RESOURCE_KINDS]


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _present(api: AdminApi, targets: Sequence[Target]) -> list[Target]:
    kinds = {kind.section: kind for kind, _ in targets}
    names = {section: {row[kind.key] for row in api.get(*kind.path)} for section, kind in kinds.items()}
    return [(kind, name) for kind, name in targets if name in names[kind.section]]


def _try_all(api: AdminApi, targets: Sequence[Target], *, force: bool) -> None:
    """Raises Failure with all refusals."""
    resources.check_dry_run(api, "delete", "deletion")
    gone: set[tuple[str, str]] = set()
    refusals: list[str] = []
    for kind, name in targets:
        refusals += _refusal(api, (kind, name), gone, force=force)
        gone.add((kind.resource, name))
    if refusals:
        found = f"{len(refusals)} of {len(targets)} would not be deleted"
        raise Failure(f"dry run, nothing was changed: {found}\n  " + "\n  ".join(refusals))


def _refusal(
    api: AdminApi, target: Target, gone: Collection[tuple[str, str]], *, force: bool
) -> Iterator[str]:
    """The reason for which a resource would not be deleted after those that are `gone` by then, if there is one."""
    kind, name = target
    try:
        resources.delete(api, kind, name, force=force, dry_run=True)
    except ApiError as refused:
        if refused.status not in (400, 409):
            raise
        needed_by = [(one["kind"], one["name"]) for one in refused.members.get("needed_by", ())]
        users = [f"{who} {what}" for who, what in needed_by if (who, what) not in gone]
        if users:
            yield f"{kind.singular} {name} is needed by {', '.join(users)}"
        elif not needed_by:
            yield str(refused)


def _delete_all(api: AdminApi, targets: Sequence[Target], *, force: bool) -> None:
    for number, (kind, name) in enumerate(targets):
        try:
            resources.delete(api, kind, name, force=force)
        except Failure as failure:
            done = f"{number} of {len(targets)} are deleted, then {kind.singular} {name} was not"
            raise Failure(f"{done}: {failure}", failure.exit_code or FAILED) from failure
