"""How-to guides and migration pages name only what exists: fields, commands, settings and metrics."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from controlplane.model.document import read_document
from controlplane.model.validate import check_references
from controlplane.settings import Settings as ControlPlaneSettings
from dataplane.settings import Settings as DataPlaneSettings
from dataplane.telemetry.settings import names as telemetry_names
from headgate.cli.app import app
from tests.support import resource_files
from tests.support.pages import DOCS, ROOT, Block, blocks
from tests.support.resource_files import read

PAGES = sorted([*(DOCS / "how-to").glob("*.md"), *(DOCS / "migration").glob("*.md")])
BLOCKS = [block for page in PAGES for block in blocks(page)]
SETTINGS = {
    name.upper() for settings in (ControlPlaneSettings, DataPlaneSettings) for name in settings.model_fields
}
OF_THE_SDK = {"HEADGATE_TOKEN", "HEADGATE_TOKEN_FILE", "HEADGATE_CONTROLPLANE", "HEADGATE_CA", "HEADGATE_URL"}


def loaded(block: Block) -> Mapping[str, Any]:
    parsed = next(iter(read(block.text)), None)
    return parsed if isinstance(parsed, Mapping) else {}


def is_a_document(block: Block) -> bool:
    """Whether the block is a Headgate file, and not one of another program."""
    return block.language == "yaml" and resource_files.is_document(loaded(block))


FILES = [block for block in BLOCKS if is_a_document(block)]
WHOLE = [block for block in FILES if block.page.parent.name == "migration"]


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.place)
def test_a_file_is_valid(block: Block) -> None:
    assert read_document(loaded(block)).problems == ()


@pytest.mark.parametrize("block", WHOLE, ids=lambda block: block.place)
def test_a_translated_file_needs_nothing_else(block: Block) -> None:
    document = read_document(loaded(block))
    assert check_references({}, document.declared) == []
    assert document.warnings() == ()


def test_every_migration_page_has_a_translated_file() -> None:
    pages = {page for page in PAGES if page.parent.name == "migration"} - {DOCS / "migration" / "index.md"}
    assert {block.page for block in WHOLE} == pages


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `headgate …` line of a shell block, without its comment and what the shell does with it."""
    for block in BLOCKS:
        if block.language != "bash":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith("headgate "):
                words = shlex.split(line, comments=True)
                end = next((at for at, word in enumerate(words) if word in (">", "|", "&", "&&")), len(words))
                yield f"{block.place} {' '.join(words[:end])}", words[1:end]


COMMANDS = list(commands())


@pytest.mark.parametrize("words", [words for _, words in COMMANDS], ids=[name for name, _ in COMMANDS])
def test_a_command_is_understood(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    context = group.make_context("headgate", list(words))
    while hasattr(group, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            assert group.invoke_without_command, "the command needs a subcommand"
            return
        _, group, rest = group.resolve_command(context, rest)
        context = group.make_context(group.name, rest, parent=context)


def test_settings_exist() -> None:
    named = {
        (block.place, name)
        for block in BLOCKS
        if block.language == "bash"
        for name in re.findall(r"^export ([A-Z_]+)=", block.text, re.MULTILINE)
    }
    assert (
        named
        and {
            (place, name)
            for place, name in named
            if name not in SETTINGS.union(OF_THE_SDK, telemetry_names())
        }
        == set()
    )


@cache
def sources() -> str:
    folders = ("controlplane", "dataplane")
    return "\n".join(
        path.read_text()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "_pb2" not in path.name
    )


def metric_is_there(name: str) -> bool:
    """Names are made of a prefix and a word in the source; a unit or kind is put behind it."""
    stem = re.sub(r"_(total|bucket|sum|count)$", "", name)
    words = (name, stem, stem.removeprefix("headgate_"), stem.removeprefix("headgate_controlplane_"))
    return any(f'"{word}"' in sources() for word in words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_metrics_exist(page: Path) -> None:
    named = set(re.findall(r"\bheadgate_[a-z_]+[a-z]\b", page.read_text()))
    assert {name for name in named if not metric_is_there(name)} == set()


def test_upgrades_keep_values_and_take_new_defaults() -> None:
    """`--reuse-values` keeps the defaults of the former chart: values that are new have none."""
    commands = [block.text for block in BLOCKS if block.language == "bash"]
    assert not [text for text in commands if " --reuse-values" in text]
