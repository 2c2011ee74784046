"""docs/how-to/import.md: each example has the file, the command, its output, and its notes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.support.imports import imported
from tests.support.pages import DOCS, Block, blocks

PAGE = list(blocks(DOCS / "how-to" / "import.md"))
EXAMPLES = [at for at, block in enumerate(PAGE) if block.text.startswith("headgate import ") and at > 1]


def _result(command: Block) -> tuple[list[str], str]:
    words = shlex.split(command.text)
    return words[1 : words.index(">")], words[2]


@pytest.mark.parametrize("at", EXAMPLES, ids=[PAGE[at].place for at in EXAMPLES])
def test_an_example_is_what_the_command_prints(run: Any, at: int) -> None:
    source, command, result, notes = PAGE[at - 1 : at + 3]
    assert [one.language for one in (source, command, result, notes)] == ["yaml", "bash", "yaml", "text"]
    arguments, product = _result(command)
    imported(run, product, source.text, *arguments[3:])
    Path(arguments[2]).write_text(source.text)
    printed = run(*arguments)
    assert printed.stdout == result.text
    assert printed.stderr == notes.text


def test_every_product_has_an_example() -> None:
    products = {line.split()[2] for line in PAGE[0].text.splitlines()}
    assert products == {_result(PAGE[at])[1] for at in EXAMPLES}
