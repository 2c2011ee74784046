"""Contexts (names for control planes) and logins, by URL, in a file readable only by its owner."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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
    """Expiry of the access token, in Unix seconds."""
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Context:
    """A name for a control plane."""

    name: str
    url: str
    ca: str | None = None
    """CA file for the check of its certificate."""


def default_path() -> Path:
    """Below XDG_CONFIG_HOME, or ~/.config (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME")
    try:
        return (Path(base) if base else Path.home() / ".config") / "headgate" / "credentials.json"
    except RuntimeError as error:
        raise Failure("there is no home folder to keep logins in: set HOME or XDG_CONFIG_HOME") from error


class Credentials:
    """The file; it is read at every use, and written as a whole."""

    def __init__(self, path: Path | None = None) -> None:
        """The file need not exist."""
        self._given = path
        self._holds_lock = False

    @property
    def _path(self) -> Path:
        """Looked for when it is needed: commands such as `register` run where nobody has a home."""
        return self._given or default_path()

    @property
    def current(self) -> str | None:
        """URL of the last login."""
        url = self._read().get("current")
        return url if isinstance(url, str) else None

    @property
    def contexts(self) -> dict[str, Context]:
        """Named contexts, and one for every other login, named by host and port."""
        content = self._read()
        found = {
            name: Context(name, str(stored["url"]), stored.get("ca"))
            for name, stored in _part(content, "contexts").items()
        }
        urls = {context.url for context in found.values()}
        for url in _part(content, "logins"):
            if url not in urls:
                name = url.partition("://")[2]
                found.setdefault(name, Context(name, url))
        return found

    def context(self, name: str) -> Context:
        """The context of this name. Raises Failure with the list of names."""
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
        """Add or replace a context, and make it the current one if there is none."""
        stored = {"url": context.url, **({"ca": context.ca} if context.ca else {})}
        with self._changed() as content:
            content.setdefault("current", context.url)
            content["contexts"] = _part(content, "contexts") | {context.name: stored}

    def use(self, url: str) -> None:
        """Make this URL the current one."""
        with self._changed() as content:
            content["current"] = url

    def remove_context(self, name: str) -> None:
        """Delete a context, and its login unless another context shares it. Raises Failure if there is no such
        context."""
        gone = self.context(name)
        with self._changed() as content:
            kept = _without(_part(content, "contexts"), name)
            content["contexts"] = kept
            if gone.url not in {one["url"] for one in kept.values()}:
                content["logins"] = _without(_part(content, "logins"), gone.url)
                if content.get("current") == gone.url:
                    del content["current"]

    def find(self, url: str) -> Login | None:
        """The login at this URL."""
        stored: Any = _part(self._read(), "logins").get(url)
        try:
            login = Login(**stored)
        except TypeError:
            return None  # none, or of another version: log in again
        expires: object = login.expires
        return login if isinstance(expires, int | float) else None

    def save(self, url: str, login: Login) -> None:
        """Store a login, and make its URL the current one."""
        with self._changed() as content:
            content["current"] = url
            content["logins"] = _part(content, "logins") | {url: asdict(login)}

    def remove(self, url: str) -> None:
        """Forget a login."""
        with self._changed() as content:
            content["logins"] = _without(_part(content, "logins"), url)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        """The content, which is written after the block. Locked: of two changes at once none may undo the other."""
        with self.locked():
            content = self._read()
            yield content
            self._write(content)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out other commands, because a refresh token is valid for one use and they share it. May be nested."""
        if sys.platform == "win32" or self._holds_lock:
            yield
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise Failure(f"cannot lock {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._holds_lock = True
            yield
        finally:
            self._holds_lock = False
            os.close(handle)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Failure(f"cannot read {self._path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise self._damaged() from error
        if not _is_sound(content):
            raise self._damaged()
        return dict(content)

    def _damaged(self) -> Failure:
        return Failure(f"{self._path} is damaged: remove it and log in again")

    def _write(self, content: Mapping[str, object]) -> None:
        """Replace the file in one step, so that another command never reads a part of it."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Created with mode 0600.
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".credentials")
            with os.fdopen(handle, "w") as file:
                json.dump(content, file, indent=2)
            Path(name).replace(self._path)
        except OSError as error:
            raise Failure(f"cannot write {self._path}: {error.strerror}") from error


def _is_sound(content: object) -> bool:
    """Whether a file holds what this module writes. Logins may be those of another version."""
    if not isinstance(content, dict):
        return False
    contexts, logins = content.get("contexts", {}), content.get("logins", {})
    return (
        isinstance(logins, dict) and isinstance(contexts, dict) and all(map(_is_context, contexts.values()))
    )


def _is_context(stored: object) -> bool:
    return (
        isinstance(stored, dict)
        and isinstance(stored.get("url"), str)
        and isinstance(stored.get("ca"), str | None)
    )


def _part(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(content.get(name) or {})


def _without(named: Mapping[str, Any], gone: str) -> dict[str, Any]:
    return {name: one for name, one in named.items() if name != gone}
