"""Completion in bash of words that hold colons, such as `orders:read` and `127.0.0.1:8080`.

Bash gives them in parts, `orders`, `:` and `re`, and replaces only the last part (COMP_WORDBREAKS). So the parts are
joined before typer reads them, and the part that bash keeps is removed from the answers.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, MutableMapping


@contextlib.contextmanager
def kept_together(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Complete within; prints what is printed within, without the part that bash leaves as it is."""
    standing = _put_together(environment)
    if not standing:
        yield
        return
    answers = io.StringIO()
    try:
        with contextlib.redirect_stdout(answers):
            yield
    finally:
        for line in answers.getvalue().splitlines():
            sys.stdout.write(f"{line.removeprefix(standing)}\n")


def _put_together(environment: MutableMapping[str, str]) -> str:
    """Join the words in the environment, up to the last; returns its part until its last colon."""
    words = re.split(r"\s", environment.get("COMP_WORDS", ""))
    last = environment.get("COMP_CWORD", "")
    joined: list[str] = []
    for word in words[: int(last) + 1 if last.isdigit() else 0]:
        if joined and (word.startswith(":") or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
    if not any(":" in word for word in joined):
        return ""
    environment.update(COMP_WORDS=" ".join(joined), COMP_CWORD=str(len(joined) - 1))
    # A word that bash did not split is replaced as a whole.
    return "" if words[int(last)] == joined[-1] else joined[-1][: joined[-1].rfind(":") + 1]
