"""The changelog of a release."""

from __future__ import annotations

from deploy.release.version import ReleaseError, Version

UNRELEASED = "## Unreleased\n"


def release(text: str, version: Version, date: str) -> tuple[str, str]:
    """Give what is unreleased the heading of a version. Returns the new text, and what this version brings.

    ReleaseError if nothing is unreleased, or the version is in it already.
    """
    if f"\n## {version} " in text:
        raise ReleaseError(f"the changelog has {version} already")
    before, found, after = text.partition(UNRELEASED)
    end = after.find("\n## ")
    notes, rest = (after, "") if end < 0 else (after[:end], after[end:])
    if not found or not notes.strip():
        raise ReleaseError("the changelog has nothing under 'Unreleased'")
    heading = f"## {version} - {date}\n"
    return f"{before}{UNRELEASED}\n{heading}{notes.rstrip()}\n{rest}", notes.strip()
