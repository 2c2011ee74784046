"""Options of commands that also delete what the files leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from headgate.cli.failure import USAGE, Failure

PruneOption = Annotated[
    bool, typer.Option("--prune", help="Also delete the resources that are not in the files.")
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        "-l",
        help="Compare the files with the resources that have this label, NAME=VALUE or NAME. Several must all match.",
    ),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Compare the files with every resource, in place of those with a label.")
]
UsersOption = Annotated[bool, typer.Option("--users", help="Delete users, too.")]
CertificatesOption = Annotated[
    bool,
    typer.Option("--certificates", help="Delete certificates, too. Their private keys cannot be restored."),
]
EmptyOption = Annotated[
    bool, typer.Option("--allow-empty", help="The files may declare nothing: delete everything selected.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_SPELLED = {"empty=true": "--allow-empty", "users=true": "--users", "certificates=true": "--certificates"}


@dataclass(frozen=True, slots=True)
class Pruning:
    """The resources that are deleted unless the files declare them."""

    labels: Sequence[str]
    users: bool = False
    certificates: bool = False
    empty: bool = False

    def query(self) -> dict[str, str | Sequence[str]]:
        """As the API takes it."""
        asked = {"users": self.users, "certificates": self.certificates, "empty": self.empty}
        chosen: dict[str, str | Sequence[str]] = {"label": self.labels} if self.labels else {"all": "true"}
        return {"prune": "true", **chosen, **{name: "true" for name, on in asked.items() if on}}


def read_pruning(
    prune: bool, labels: Sequence[str] | None, everything: bool, users: bool, certificates: bool, empty: bool
) -> Pruning | None:
    """What the options ask for; None: nothing is deleted. Raises Failure if they do not say what is meant."""
    others = {
        "--label": labels,
        "--all": everything,
        "--users": users,
        "--certificates": certificates,
        "--allow-empty": empty,
    }
    if not prune:
        if unused := [name for name, given in others.items() if given]:
            raise Failure(f"{' and '.join(unused)}: only together with --prune", USAGE)
        return None
    if bool(labels) == everything:
        raise Failure(
            "say what the files are compared with: resources with --label NAME=VALUE, or --all of them", USAGE
        )
    return Pruning(tuple(labels or ()), users, certificates, empty)


def with_options(text: str) -> str:
    """A text of the API with the options of the command in place of the parameters."""
    for parameter, option in _SPELLED.items():
        text = text.replace(parameter, option)
    return text


def kept(receipt: Mapping[str, object]) -> list[tuple[str, list[str]]]:
    """The reasons for which resources are not deleted, with the resources."""
    found: dict[str, list[str]] = {}
    listed = receipt.get("kept")
    for one in listed if isinstance(listed, list) else ():
        found.setdefault(with_options(one["reason"]), []).append(f"{one['kind']} {one['name']}")
    return list(found.items())
