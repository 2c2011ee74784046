"""Versions (Semantic Versioning 2.0), and the files that have the project's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FORM: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
PLACES: Final = {
    "VERSION": "{}\n",
    "controlplane/pyproject.toml": '"headgate-api=={}"',
    "dataplane/pyproject.toml": '"headgate-api=={}"',
    "sdk/pyproject.toml": '"headgate-api=={}"',
    "charts/headgate/Chart.yaml": 'version: {}\nappVersion: "{}"\n',
    "examples/kubernetes/hello.yaml": "image: headgate-sdk:{}\n",
}
"""How each file has the version. Wheels, images and programs take theirs from VERSION."""


class ReleaseError(Exception):
    """Why there is no release."""


@dataclass(frozen=True, order=True)
class Version:
    """A version X.Y.Z."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """ReleaseError if it is not one."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ReleaseError(f"{text!r} is not a version of the form X.Y.Z")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def check_newer(wanted: Version, current: Version, released: list[Version]) -> None:
    """ReleaseError unless `wanted` can be the next one. The current version may be released, if it never was."""
    if wanted in released:
        raise ReleaseError(f"{wanted} is released already: there is a tag v{wanted}")
    newest = max([current, *released])
    if wanted < newest:
        raise ReleaseError(f"{wanted} is not newer than {newest}")


def write(root: Path, old: str, new: str) -> None:
    """Put the new version into all files. ReleaseError if one does not have the old version as expected."""
    for name, form in PLACES.items():
        text, expected = (root / name).read_text(), form.replace("{}", old)
        if text.count(expected) != 1:
            raise ReleaseError(f"{name} does not have {expected.strip()!r} once")
        (root / name).write_text(text.replace(expected, form.replace("{}", new)))
