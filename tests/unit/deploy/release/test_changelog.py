"""The changelog before and after a release."""

from __future__ import annotations

import pytest

from deploy.release.changelog import release
from deploy.release.version import ReleaseError, Version

TWO = Version(0, 2, 0)
HEAD = "# Changelog\n\nThe format.\n\n## Unreleased\n"
OLDER = "\n## 0.1.0 - 2026-01-01\n\n### Added\n- Everything.\n"


def test_what_is_unreleased_gets_the_heading_of_the_version() -> None:
    text, notes = release(HEAD + "\n### Added\n- A thing.\n" + OLDER, TWO, "2026-12-01")
    assert text == HEAD + "\n## 0.2.0 - 2026-12-01\n\n### Added\n- A thing.\n" + OLDER
    assert notes == "### Added\n- A thing."


def test_the_first_release_has_no_older_one_below() -> None:
    text, notes = release(HEAD + "\n- A thing.\n", TWO, "2026-12-01")
    assert text == HEAD + "\n## 0.2.0 - 2026-12-01\n\n- A thing.\n"
    assert notes == "- A thing."


@pytest.mark.parametrize("text", [HEAD, HEAD + OLDER, "# Changelog\n" + OLDER])
def test_without_changes_there_is_nothing_to_release(text: str) -> None:
    with pytest.raises(ReleaseError, match="nothing under 'Unreleased'"):
        release(text, TWO, "2026-12-01")


def test_a_version_is_in_it_once() -> None:
    with pytest.raises(ReleaseError, match=r"has 0\.1\.0 already"):
        release(HEAD + "- A thing.\n" + OLDER, Version(0, 1, 0), "2026-12-01")
