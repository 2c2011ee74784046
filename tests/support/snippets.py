"""Checks the fenced blocks of the documentation, without running a gateway.

bash parses shell blocks. Each command has its own check: `headgate` by its own parser, `make` by
the targets of the Makefile, `curl` by the paths that the planes serve, variables by the planes' settings, `--set` of
helm by the chart's values. Python is compiled, and its names of `headgate` are looked up. YAML is parsed, and validated
if it is a document of resources. JSON is parsed. A comment `<!-- not run: REASON -->` above a block exempts it.

`python -m tests.support.snippets` counts them.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import typer.main
import yaml

from controlplane.api.table import operations
from controlplane.model.document import read_document
from controlplane.settings import Settings as ControlPlane
from dataplane.settings import Settings as DataPlane
from dataplane.telemetry.settings import names as telemetry_names
from headgate.cli.app import app
from headgate.cli.failure import Failure
from tests.support.pages import ROOT, Block, all_pages, blocks
from tests.support.resource_files import is_document, read

_SUBSTITUTION = re.compile(r"\$\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
_HERE_DOCUMENT = re.compile(r"<<'?(?P<end>\w+)'?([^\n]*)\n.*?^(?P=end)$", re.DOTALL | re.MULTILINE)
EXEMPT = re.compile(r"<!-- not run: (.+) -->")
FOREIGN = frozenset(
    {
        *(
            "base64",
            "cat",
            "cd",
            "cut",
            "docker",
            "echo",
            "etcdctl",
            "etcdutl",
            "exit",
            "generate",
            "git",
            "grep",
        ),
        *(
            "gunicorn",
            "head",
            "helm",
            "hostname",
            "jq",
            "kill",
            "kubectl",
            "ls",
            "mkdir",
            "openssl",
            "pgrep",
            "pip",
        ),
        *("redis-cli", "ruby", "sed", "source", "tail", "tr", "uvicorn", "wait", "watch"),
    }
)
"""Names of other programs, so that a misspelt command is found."""
SDK = frozenset(
    {
        *("HEADGATE_TOKEN", "HEADGATE_TOKEN_FILE", "HEADGATE_CONTROLPLANE", "HEADGATE_CA", "HEADGATE_URL"),
        *("HEADGATE_CONTEXT", "HEADGATE_INSECURE", "HEADGATE_CONFIG", "HEADGATE_HOST", "HEADGATE_PORT"),
        "HEADGATE_INSTANCE",
    }
)
_STATUS_PATHS = frozenset({"/health", "/live", "/ready", "/metrics", "/debug/config", "/docs", "/"})
_KEYWORDS = frozenset(
    {"if", "then", "else", "fi", "for", "do", "done", "case", "esac", "while", "in", "{", "}", "!"}
)


def wrong(block: Block) -> Iterator[str]:
    """All problems of a block."""
    if check := CHECKS.get(block.language):
        yield from check(block)
    elif block.language:
        yield f"no check for the language {block.language!r}"


def reason_not_to_run(block: Block) -> str:
    """The reason of an exemption; empty if there is none."""
    found = EXEMPT.fullmatch(block.above)
    return found[1] if found else ""


def _shell(block: Block) -> Iterator[str]:
    read = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    if read.returncode or read.stderr:
        yield read.stderr
        return
    for words in commands(block):
        yield from _command(words)


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a shell block, as words; those within `$(…)`, too. Redirections are left out."""
    text = _HERE_DOCUMENT.sub(r"\2", block.text.replace("\\\n", " "))
    for inner in _SUBSTITUTION.findall(text):
        yield from _simple(inner)
    yield from _simple(_SUBSTITUTION.sub("_", text))


def _simple(text: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(text.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    # A comment ends with its line, but the lines are already joined here.
    lexer.commenters = ""
    if "#" in text:
        lexer = shlex.shlex(
            " ; ".join(without_comment(line) for line in text.splitlines()),
            posix=True,
            punctuation_chars=True,
        )
        lexer.whitespace_split = True
        lexer.commenters = ""
    words, skip = list[str](), False
    for word in lexer:
        if word and set(word) <= set(";|&()"):
            if words:
                yield words
            words = []
        elif word and set(word) <= set("<>&"):
            skip = True
        elif skip:
            skip = False
        else:
            words.append(word)
    if words:
        yield words


def without_comment(line: str) -> str:
    """A line without its comment: a # that begins a word, outside of quotes."""
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (position == 0 or line[position - 1].isspace()):
            return line[:position]
    return line


def _command(words: list[str]) -> Iterator[str]:
    while words and (words[0] in _KEYWORDS or re.match(r"[A-Za-z_]\w*=", words[0]) or words[0] == "export"):
        if words[0] == "for" or (words[0] == "export" and not any("=" in word for word in words[1:])):
            return
        if (name := words[0].partition("=")[0]).isupper() and "=" in words[0]:
            yield from _variable(name)
        words = words[1:]
    # The rest of a `case` are its patterns.
    if not words or words[0].isdigit() or not re.match(r"[\w./]", words[0]):
        return
    program = words[0].removeprefix(".venv/bin/")
    if check := PROGRAMS.get(program):
        yield from check(words[1:])
    elif program not in FOREIGN and not program.endswith(")"):
        yield f"{program!r} is no command that is known here (tests.support.snippets.FOREIGN)"
    if program == "helm":
        yield from _helm(words)


def _variable(name: str) -> Iterator[str]:
    known = {field.upper() for settings in (ControlPlane, DataPlane) for field in settings.model_fields}
    known.update(telemetry_names())
    own = {
        "TOKEN",
        "ADMIN_TOKEN",
        "CHECK",
        "TRAFFIC",
        "PORT_BASE",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "EDITOR",
        "KUBECONFIG",
    }
    if name not in known | SDK | own:
        yield f"{name} is neither a setting nor a variable that is known here"


@cache
def _targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _make(words: list[str]) -> Iterator[str]:
    for word in words:
        if "=" not in word and not word.startswith("-") and word not in _targets():
            yield f"the Makefile has no target {word!r}"


def _headgate(words: list[str]) -> Iterator[str]:
    group: Any = typer.main.get_command(app)
    words = [word for word in words if word != "…"]
    try:
        context = group.make_context("headgate", list(words))
        while hasattr(group, "commands"):
            rest = [*context._protected_args, *context.args]
            if not rest:
                break
            _, group, rest = group.resolve_command(context, rest)
            context = group.make_context(group.name, rest, parent=context)
    except Exception as error:
        # A page may use any name: the parser must accept it.
        yield f"headgate {' '.join(words)}: {getattr(error, 'message', '') or type(error).__name__}"


def _docker(words: list[str]) -> Iterator[str]:
    """Compose has a service for the command line."""
    if words[:2] == ["compose", "run"] and "headgate" in words:
        yield from _headgate(words[words.index("headgate") + 1 :])


@cache
def _served() -> re.Pattern[str]:
    paths = [re.sub(r"{\w+(?::\w+)?}", "\0", operation.path) for operation in operations()]
    return re.compile("|".join(re.escape(path).replace("\0", ".+") for path in paths))


def _curl(words: list[str]) -> Iterator[str]:
    for word in words:
        found = re.match(r"(?:https?://)?(?:localhost|127\.0\.0\.1|[\w-]+-\d):(\d+)(/[^?]*)?", word)
        if not found:
            continue
        path = found[2] or "/"
        if found[1] == "9090" or (found[1] == "8000" and not path.startswith("/api/")):
            continue  # Prometheus; a route, or what data planes answer themselves
        if path not in _STATUS_PATHS and not _served().fullmatch(path):
            yield f"nothing is served at {path}"


def _helm(words: list[str]) -> Iterator[str]:
    values = yaml.safe_load((ROOT / "charts/headgate/values.yaml").read_text())
    for flag, word in pairwise(words):
        if flag == "--set":
            at: Any = values
            for name in word.partition("=")[0].split("."):
                if not isinstance(at, Mapping) or name not in at:
                    yield f"the chart has no value {word.partition('=')[0]}"
                    break
                at = at[name]


def _python_command(words: list[str]) -> Iterator[str]:
    if words[:1] == ["-m"] and words[1].split(".")[0] in ("tests", "demo", "controlplane", "dataplane"):
        if not any(
            (ROOT / (words[1].replace(".", "/") + end)).exists()
            for end in (".py", "/__main__.py", "/__init__.py")
        ):
            yield f"there is no module {words[1]}"
    elif words and words[0].endswith(".py") and "/" in words[0] and not (ROOT / words[0]).exists():
        yield f"there is no file {words[0]}"


def _python(block: Block) -> Iterator[str]:
    try:
        tree = compile(block.text, block.place, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        yield f"{error.msg} in line {error.lineno} of the block"
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "headgate"
        ):
            if not _there("headgate", node.attr):
                yield f"headgate has no {node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "headgate":
            yield from (
                f"{node.module} has no {name.name}"
                for name in node.names
                if not _there(node.module or "", name.name)
            )


def _there(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ImportError:
        return False
    return True


def _yaml(block: Block) -> Iterator[str]:
    try:
        parsed = read(block.text)
    except (yaml.YAMLError, Failure) as error:
        yield f"not YAML: {error}"
        return
    for document in filter(is_document, parsed):
        yield from map(str, read_document(document).problems)


def _json(block: Block) -> Iterator[str]:
    try:
        json.loads(block.text)
    except ValueError as error:
        yield f"not JSON: {error}"


def _toml(block: Block) -> Iterator[str]:
    try:
        tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as error:
        yield f"not TOML: {error}"


Check = Callable[[Block], Iterator[str]]
CHECKS: Mapping[str, Check] = {
    "bash": _shell,
    "python": _python,
    "py": lambda _: iter(()),  # a signature: nothing to run
    "yaml": _yaml,
    "json": _json,
    "toml": _toml,
    "ini": lambda _: iter(()),
    "text": lambda _: iter(()),
}
"""Checks by language; a block without one is output, and not run."""
PROGRAMS: Mapping[str, Callable[[list[str]], Iterator[str]]] = {
    "docker": _docker,
    "headgate": _headgate,
    "make": _make,
    "curl": _curl,
    "python": _python_command,
    "python3": _python_command,
}


def main() -> None:
    """Print the number of blocks and commands."""
    found = [block for page in all_pages() for block in blocks(page)]
    counts = Counter(block.language or "output" for block in found)
    exempt = [block for block in found if reason_not_to_run(block)]
    lines = sum(1 for block in found if block.language == "bash" for _ in commands(block))
    sys.stdout.write(
        f"{len(found)} blocks: {', '.join(f'{count} {name}' for name, count in counts.most_common())}\n"
    )
    sys.stdout.write(f"{lines} shell commands; {len(exempt)} blocks are exempt\n")
    for block in exempt:
        sys.stdout.write(f"  {block.place}: {reason_not_to_run(block)}\n")


if __name__ == "__main__":
    main()
