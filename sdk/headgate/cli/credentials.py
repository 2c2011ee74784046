"""Contexts (names for control planes) and logins, by URL, in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headgate.cli.failure import USAGE, Failure
from headgate.cli.spelling import meant

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


@dataclass(frozen=True, slots=True)
class Context:
    """A name for a control plane."""

    name: str
    url: str
    ca: str | None = None
    """File of the authority that its certificate is checked with."""


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

    @property
    def contexts(self) -> dict[str, Context]:
        """Named contexts, and one for every other login, called by host and port."""
        content = self._read()
        named = content.get("contexts")
        found = {
            name: Context(name, str(stored.get("url", "")), stored.get("ca"))
            for name, stored in (named if isinstance(named, dict) else {}).items()
        }
        urls = {context.url for context in found.values()}
        logins = content.get("logins")
        for url in logins if isinstance(logins, dict) else ():
            if url not in urls:
                name = url.partition("://")[2]
                found.setdefault(name, Context(name, url))
        return found

    def context(self, name: str) -> Context:
        """The context of this name. Raises Failure that lists the names."""
        contexts = self.contexts
        if name not in contexts:
            how = "; `headgate context` lists them, and `headgate context set NAME URL` makes one"
            raise Failure(f"there is no context {name!r}{meant(name, contexts) or how}", USAGE)
        return contexts[name]

    def ca(self, url: str) -> Path | None:
        """The authority's file of the context that has this URL."""
        given = next((one.ca for one in self.contexts.values() if one.url == url and one.ca), None)
        return Path(given) if given else None

    def set_context(self, context: Context) -> None:
        """Add a context or replace it, and make it the current one when there is none."""
        content = self._read()
        known = content.get("contexts")
        stored = {"url": context.url, **({"ca": context.ca} if context.ca else {})}
        named = (known if isinstance(known, dict) else {}) | {context.name: stored}
        self._write({"current": context.url} | content | {"contexts": named})

    def use(self, url: str) -> None:
        """Make this URL the current one."""
        self._write(self._read() | {"current": url})

    def remove_context(self, name: str) -> None:
        """Forget a context, and the login that no other context shares. Raises Failure when there is none."""
        gone = self.context(name)
        content = self._read()
        known = content.get("contexts")
        kept = (
            {other: one for other, one in known.items() if other != name} if isinstance(known, dict) else {}
        )
        if gone.url not in {one["url"] for one in kept.values()}:
            logins = content.get("logins")
            others = logins.items() if isinstance(logins, dict) else ()
            content["logins"] = {url: login for url, login in others if url != gone.url}
            if content.get("current") == gone.url:
                del content["current"]
        self._write(content | {"contexts": kept})

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
        self._write(content | {"current": url, "logins": known | {url: asdict(login)}})

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
        except OSError as error:
            raise Failure(f"cannot read {self._path}: {error.strerror}") from error
        except ValueError as error:
            raise Failure(f"{self._path} is damaged: remove it and log in again") from error
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
