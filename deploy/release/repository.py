"""The repository that is released."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.release.version import ReleaseError, Version


class Repository:
    """A checkout. Raises ReleaseError with git's words if a command fails."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *arguments: str, text: str | None = None) -> str:
        """The output of a command of git, which gets `text` as its input."""
        command = ("git", "-C", str(self.root), *arguments)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise ReleaseError(f"git {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def check_clean(self) -> None:
        """ReleaseError if a file is changed or not known to git."""
        changed = self.git("status", "--porcelain").splitlines()
        if changed:
            raise ReleaseError(f"the checkout has changes: {', '.join(line[3:] for line in changed[:5])}")

    def version(self) -> str:
        """What the file VERSION says."""
        return (self.root / "VERSION").read_text().strip()

    def released(self) -> list[Version]:
        """The versions that have tags."""
        tags = self.git("tag", "--list", "v[0-9]*.[0-9]*.[0-9]*").split()
        return [Version.parse(tag.removeprefix("v")) for tag in tags]

    def clone(self, folder: Path) -> Repository:
        """A clone of the current commit, with the same author."""
        self.git("clone", "--quiet", "--no-checkout", str(self.root), str(folder))
        copy = Repository(folder)
        copy.git("checkout", "--quiet", "--detach", self.git("rev-parse", "HEAD"))
        for name in ("user.name", "user.email"):
            # Without one, the commit fails, and git says what to do.
            if value := self.git("config", "--default=", name):
                copy.git("config", name, value)
        return copy

    def commit(self, message: str) -> int:
        """Commit all changes. Returns the commit's time."""
        self.git("commit", "--quiet", "--all", "--message", message)
        return int(self.git("log", "-1", "--format=%ct"))

    def tag(self, name: str, notes: str) -> None:
        """An annotated tag on the current commit."""
        # Headings of the changelog are not comments.
        self.git("tag", "--annotate", "--cleanup=whitespace", "--file=-", name, text=notes)

    def take(self, other: Repository, tag: str) -> None:
        """Fast-forward this checkout to the other one's commit, and take its tag."""
        self.git("fetch", "--quiet", "--no-tags", str(other.root), f"refs/tags/{tag}:refs/tags/{tag}")
        self.git("merge", "--quiet", "--ff-only", f"{tag}^{{commit}}")
