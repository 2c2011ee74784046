"""Every fenced block of the documentation is what it claims to be (`tests.support.snippets` says how)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import ROOT, Block, all_pages, blocks
from tests.support.snippets import commands, reason_not_to_run, wrong

PAGES = [page for page in all_pages() if any(block.language for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_snippets(page: Path) -> None:
    complaints = [
        f"{block.place}: {text}"
        for block in blocks(page)
        if not reason_not_to_run(block)
        for text in wrong(block)
    ]
    assert complaints == []


def block(language: str, text: str) -> Block:
    return Block(ROOT / "README.md", 1, language, text, "")


@pytest.mark.parametrize(
    ("language", "text", "complaint"),
    [
        ("bash", "headgate aply -f gateway.yaml\n", "aply"),
        ("bash", "headgate get routes --nope\n", "nope"),
        ("bash", "make everything\n", "everything"),
        ("bash", "curl -s http://localhost:8080/api/v1/nosuch | jq\n", "/api/v1/nosuch"),
        ("bash", "TOKEN=$(headgate tokn service orders)\n", "tokn"),
        ("bash", "export MAX_CONECTIONS=5\n", "MAX_CONECTIONS"),
        ("bash", "helm install gate charts/headgate --set dataplane.replica=3\n", "dataplane.replica"),
        ("bash", "kubctl get pods\n", "kubctl"),
        ("bash", "if true; then\n", "syntax error"),
        ("python", "import headgate\nheadgate.regster()\n", "regster"),
        ("python", "from headgate import Nosuch\n", "Nosuch"),
        ("python", "def f(:\n", "line 1"),
        ("yaml", "routes:\n  - {name: orders, prefix: orders, service_name: orders}\n", "prefix"),
        ("yaml", "a: [1\n", "not YAML"),
        ("json", "{'a': 1}\n", "not JSON"),
        ("toml", "a = [1\n", "not TOML"),
        ("cobol", "STOP RUN.\n", "cobol"),
    ],
)
def test_what_is_wrong_is_found(language: str, text: str, complaint: str) -> None:
    found = list(wrong(block(language, text)))
    assert len(found) == 1
    assert complaint in found[0]


def test_the_commands_of_a_block() -> None:
    text = (
        'A=1 headgate get routes > out.txt  # "all" of them\n'
        'T=$(headgate token service "a b" | tr -d x) && make demo\n'
    )
    assert list(commands(block("bash", text))) == [
        ["headgate", "token", "service", "a b"],
        ["tr", "-d", "x"],
        ["A=1", "headgate", "get", "routes"],
        ["T=_"],
        ["make", "demo"],
    ]
    text = "T=$(python3 - <<'END'\nimport os; os.abort()\nEND\n)\nexport T\ncat > a.yaml <<END\na: 1\nEND\n"
    assert [words[0] for words in commands(block("bash", text))] == ["python3", "T=_", "export", "cat"]
