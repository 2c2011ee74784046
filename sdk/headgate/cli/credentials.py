"""Logins, by the URL of the control plane, in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headgate.cli.failure import Failure

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True, slots=True)
class Login:
    """Tokens of one user at one control plane."""

    username: str
    access_token: str = field(repr=False)
    expires: float
    """Unix seconds at which the access token ends."""
    refresh_token: str | None = field(default=None, repr=False)


def default_path() -> Path:
    """Below XDG_CONFIG_HOME, or ~/.config (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "headgate" / "credentials.json"


class Credentials:
    """The file; read at every question, written as a whole."""

    def __init__(self, path: Path | None = None) -> None:
        """The file need not exist."""
        self._path = path or default_path()

    @property
    def current(self) -> str | None:
        """URL of the last login."""
        url = self._read().get("current")
        return url if isinstance(url, str) else None

    def find(self, url: str) -> Login | None:
        """The login at this URL."""
        logins = self._read().get("logins")
        stored = logins.get(url) if isinstance(logins, dict) else None
        if stored is None:
            return None
        try:
            return Login(**stored)
        except TypeError:
            return None  # of another version: log in again

    def save(self, url: str, login: Login) -> None:
        """Keep a login, and make its URL the current one."""
        content = self._read()
        logins = content.get("logins")
        known = logins if isinstance(logins, dict) else {}
        self._write({"current": url, "logins": known | {url: asdict(login)}})

    def remove(self, url: str) -> None:
        """Forget a login."""
        content = self._read()
        logins = content.get("logins")
        known = logins if isinstance(logins, dict) else {}
        self._write(content | {"logins": {other: login for other, login in known.items() if other != url}})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands out: a refresh token is good for one use, and they share it."""
        if sys.platform == "win32":
            yield
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise Failure(f"cannot lock {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self) -> dict[str, object]:
        try:
            content = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise Failure(f"cannot read {self._path} ({error}): remove it and log in again") from error
        return content if isinstance(content, dict) else {}

    def _write(self, content: dict[str, object]) -> None:
        """Replace the file in one step, so that a second command never reads half of it."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made with mode 0600.
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".credentials")
            with os.fdopen(handle, "w") as file:
                json.dump(content, file, indent=2)
            Path(name).replace(self._path)
        except OSError as error:
            raise Failure(f"cannot write {self._path}: {error.strerror}") from error
