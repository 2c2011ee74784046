"""Which version may come next, and where it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.release.version import PLACES, ReleaseError, Version, check_newer, write

ROOT = Path(__file__).parents[4]


def v(text: str) -> Version:
    return Version.parse(text)


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.x", "1.2.3-rc.1", "1.2.3\n"]
)
def test_a_version_has_three_numbers(text: str) -> None:
    with pytest.raises(ReleaseError, match="not a version of the form"):
        v(text)


def test_versions_are_compared_as_numbers() -> None:
    assert v("0.9.10") > v("0.9.9")
    assert v("1.0.0") > v("0.99.99")
    assert str(v("0.10.0")) == "0.10.0"


@pytest.mark.parametrize(
    ("wanted", "current", "tags"),
    [
        ("0.1.0", "0.1.0", []),  # the first release
        ("0.1.1", "0.1.0", ["0.1.0"]),
        ("0.10.0", "0.9.0", ["0.9.0"]),
        ("1.0.0", "0.9.0", ["0.8.0", "0.9.0"]),
    ],
)
def test_what_is_newer_may_be_released(wanted: str, current: str, tags: list[str]) -> None:
    check_newer(v(wanted), v(current), [v(tag) for tag in tags])


@pytest.mark.parametrize(
    ("wanted", "current", "tags", "reason"),
    [
        ("0.1.0", "0.1.0", ["0.1.0"], "there is a tag v0.1.0"),
        ("0.1.0", "0.2.0", ["0.1.0", "0.2.0"], "there is a tag v0.1.0"),
        ("0.0.9", "0.1.0", [], "not newer than 0.1.0"),
        ("0.1.5", "0.1.0", ["0.1.0", "0.2.0"], "not newer than 0.2.0"),
    ],
)
def test_what_is_not_newer_is_refused(wanted: str, current: str, tags: list[str], reason: str) -> None:
    with pytest.raises(ReleaseError, match=reason):
        check_newer(v(wanted), v(current), [v(tag) for tag in tags])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def test_every_file_gets_the_new_version(tree: Path) -> None:
    old = (ROOT / "VERSION").read_text().strip()
    write(tree, old, "12.34.56")
    for name in PLACES:
        text = (tree / name).read_text()
        assert "12.34.56" in text
        assert text.replace("12.34.56", old) == (ROOT / name).read_text()


def test_a_file_with_another_version_is_an_error(tree: Path) -> None:
    (tree / "charts/headgate/Chart.yaml").write_text("version: 9.9.9\n")
    with pytest.raises(ReleaseError, match=r"charts/headgate/Chart\.yaml does not have"):
        write(tree, (ROOT / "VERSION").read_text().strip(), "12.34.56")
