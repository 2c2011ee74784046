"""Options that several commands share, and their meaning."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from headgate.cli import waiting
from headgate.cli.api import AdminApi
from headgate.cli.failure import Failure
from headgate.cli.render import Output, print_json, print_line, print_yaml

FILE = typer.Option("--file", "-f", help="YAML or JSON file, folder of such files, or - for standard input.")
RecursiveOption = Annotated[
    bool, typer.Option("--recursive", "-R", help="Also read subfolders (except hidden ones).")
]
Files = Annotated[list[str], FILE]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Also a change by which the gateway no longer routes to the admin API."),
]
VariablesOption = Annotated[
    bool,
    typer.Option(
        "--env/--no-env",
        help="Put environment variables into values of the files: ${NAME}, ${NAME:-default}; $$ is a $.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check and show, without a change.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Return when the data planes serve it.")]
TimeoutOption = Annotated[
    float | None, typer.Option(min=0, max=300, help="Seconds for --wait.  [default: 60]", show_default=False)
]
QuorumOption = Annotated[
    str | None,
    typer.Option(
        help="Data planes that are enough for --wait: all (default), a number, or a share such as 50%."
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Format of the answer.")]


_DEFAULT_TIMEOUT = 60.0
_QUORUM = re.compile(r"all|[1-9]\d{0,5}|(?=.*[1-9])(\d{1,2}(\.\d{1,3})?|100(\.0{1,3})?)%", re.ASCII)


def read_wait(
    wait: bool, dry_run: bool, timeout: float | None, quorum: str | None
) -> tuple[float, str] | None:
    """Seconds and quorum of the wait for data planes; None: do not wait.

    Called before anything is sent. Raises Failure for options that are wrong or cannot be combined.
    """
    if wait and dry_run:
        raise Failure("--dry-run writes nothing that --wait could wait for", 2)
    if not wait:
        unused = [name for name, given in (("--timeout", timeout), ("--quorum", quorum)) if given is not None]
        if unused:
            raise Failure(f"{' and '.join(unused)}: only together with --wait", 2)
        return None
    if quorum is not None and not _QUORUM.fullmatch(quorum):
        raise Failure(
            f"--quorum must be all, a number from 1, or a percentage such as 50%, not {quorum!r}", 2
        )
    return (_DEFAULT_TIMEOUT if timeout is None else timeout, quorum or "all")


def finish(
    api: AdminApi,
    receipt: dict[str, Any],
    table: Callable[[dict[str, Any]], None],
    output: Output,
    wait: tuple[float, str] | None,
) -> None:
    """Print the receipt of a change, after the wait for data planes if `wait` (seconds and quorum) is given."""
    if output is Output.TABLE:
        # Before the wait, because the change is made, whatever the result of the wait.
        table(receipt)
        sys.stdout.flush()
    if wait is not None:
        try:
            seen = waiting.follow(api, receipt["revision"], *wait)
        except waiting.NotServed as failure:
            if output is not Output.TABLE:
                show(output, receipt | failure.problem(), None)
            raise
        receipt |= seen
        if output is Output.TABLE:
            print_line(waiting.served(seen))
    if output is not Output.TABLE:
        show(output, receipt, None)


def can_answer() -> bool:
    """Whether a question can be asked."""
    return sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless --yes was given. Raises typer.Abort for no, and Failure if standard input is not a terminal."""
    if not yes:
        check_answerable()
        typer.confirm(question, abort=True)


def check_answerable() -> None:
    """Raises Failure if questions cannot be asked."""
    if not can_answer():
        raise Failure(
            "the command asks for confirmation, and standard input is not a terminal: give --yes", 2
        )


def show(output: Output, value: Any, table: Any) -> None:
    """Print an answer in the requested format; `table` prints it as text."""
    if output is Output.TABLE:
        table()
    elif output is Output.YAML:
        print_yaml(value)
    else:
        print_json(value)
