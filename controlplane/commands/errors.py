"""Why a command was not carried out, beside InvalidConfig and the store's own errors. Nothing was written."""

from __future__ import annotations


class CommandError(Exception):
    """The base: a resource is not as the command takes it to be."""

    def __init__(self, kind: str, name: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.name = name


class NotFound(CommandError):
    """There is no such resource, or no such revision."""

    def __init__(self, kind: str, name: str, detail: str = "") -> None:
        super().__init__(kind, name, detail or f"{kind} {name!r} does not exist")


class StaleWrite(CommandError):
    """The resource is not at the revision that the caller has seen. `revision` is its present one, 0 when absent."""

    def __init__(self, kind: str, name: str, revision: int) -> None:
        state = f"is at revision {revision} now" if revision else "does not exist"
        super().__init__(kind, name, f"{kind} {name!r} {state}")
        self.revision = revision


class AlreadyExists(StaleWrite):
    """It should have been created, and is there already."""

    def __init__(self, kind: str, name: str, revision: int) -> None:
        super().__init__(kind, name, revision)
        self.args = (f"{kind} {name!r} exists already",)
