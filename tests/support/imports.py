"""Runs an importer, and the result through the control plane's own validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import Result

from controlplane.model.document import read_document
from controlplane.model.validate import check_references
from headgate.cli.sources import Source

Run = Callable[..., Result]


@dataclass(frozen=True)
class Imported:
    """What an importer printed."""

    document: Mapping[str, Any]
    notes: tuple[str, ...]
    exit_code: int

    def one(self, section: str, name: str) -> Mapping[str, Any]:
        return next(
            row for row in self.document[section] if name in (row.get("name"), row.get("service_name"))
        )

    def names(self, section: str) -> list[str]:
        return [row.get("name") or row["service_name"] for row in self.document.get(section, ())]

    def noted(self, place: str) -> list[str]:
        return [note.removeprefix(f"{place}: ") for note in self.notes if note.startswith(f"{place}: ")]


def imported(run: Run, product: str, text: str, *options: str) -> Imported:
    """The outcome of `headgate import PRODUCT FILE`. Its output is valid, with every reference, and can be applied."""
    Path("source.yaml").write_text(text)
    result = run("import", product, "source.yaml", *options)
    assert result.exit_code in (0, 1) and result.stdout, result.output
    (document,) = Source("result.yaml", result.stdout).documents({})
    assert isinstance(document, dict)
    found = read_document(document)
    assert found.problems == ()
    assert check_references({}, found.declared) == []
    return Imported(document, tuple(result.stderr.splitlines()), result.exit_code)
