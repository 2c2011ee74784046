"""Credentials that many callers share, set directly or in a file that is read again whenever it changes.

A file may hold several, one per line, and each is accepted: distribute a new one before you remove the old one, so that
no caller is refused in between.
"""

from __future__ import annotations

import hmac
import logging
import re
from pathlib import Path

logger = logging.getLogger(__name__)

SHORTEST, LONGEST = 16, 1024
"""Characters of one credential."""
MOST = 16
"""Credentials in one file."""

_VISIBLE = re.compile(rb"[\x21-\x7e]+")


class UnusableFile(Exception):
    """A file of credentials that cannot be used; the message is one line and holds none of them."""


class SharedTokens:
    """Credentials that are accepted. Without any, every caller is refused."""

    def __init__(self, *fixed: str, file: Path | None = None) -> None:
        """Raises UnusableFile. Later on, a file that has become unusable leaves its last content in force."""
        self._tokens = tuple(token.encode() for token in fixed)
        self._file = file
        self._seen = _stamp(file) if file else ()
        if file is not None:
            self._tokens += read_tokens(file)

    def __repr__(self) -> str:
        return f"<SharedTokens: {len(self._tokens)}>"

    def accepts(self, sent: bytes) -> bool:
        """Whether the credential is accepted, found in constant time."""
        self._follow()
        found = False
        for token in self._tokens:
            found |= hmac.compare_digest(sent, token)
        return found

    def _follow(self) -> None:
        if self._file is None or (stamp := _stamp(self._file)) == self._seen:
            return
        self._seen = stamp
        try:
            self._tokens = read_tokens(self._file)
        except UnusableFile as error:
            logger.error(
                "a credentials file cannot be used; the previous credentials stay in force",
                extra={"reason": str(error)},
            )
        else:
            extra = {"file": str(self._file), "count": len(self._tokens)}
            logger.info("credentials file reloaded", extra=extra)


def read_tokens(file: Path) -> tuple[bytes, ...]:
    """The credentials in a file, one a line; empty lines and those that begin with # do not count.

    Raises UnusableFile.
    """
    try:
        with file.open("rb") as opened:
            lines = opened.read(MOST * (LONGEST + 2) * 2).splitlines()
    except OSError as error:
        raise UnusableFile(f"cannot read {file}: {error.strerror}") from None
    stripped = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    tokens = [(number, line) for number, line in stripped if line and not line.startswith(b"#")]
    if not 1 <= len(tokens) <= MOST:
        raise UnusableFile(f"{file} must hold 1 to {MOST} credentials, one per line, but holds {len(tokens)}")
    for number, token in tokens:
        if not SHORTEST <= len(token) <= LONGEST or not _VISIBLE.fullmatch(token):
            rule = f"must be {SHORTEST} to {LONGEST} visible ASCII characters"
            raise UnusableFile(f"{file}, line {number}: {rule}")
    return tuple(token for _, token in tokens)


def _stamp(file: Path) -> tuple[int, ...]:
    """Differs whenever the content may; mounted secrets are swapped by renaming, hence the inode."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
