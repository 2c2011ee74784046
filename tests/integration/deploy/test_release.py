"""`make release` on clones of this repository."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploy.release.__main__ import release
from deploy.release.artifacts import chart
from deploy.release.repository import Repository
from deploy.release.version import PLACES, ReleaseError

ROOT = Path(__file__).parents[3]
NEW = "77.0.0"
FILES = {
    *(f"headgate_{name}-{NEW}-py3-none-any.whl" for name in ("api", "controlplane", "dataplane", "sdk")),
    f"headgate-{NEW}.tgz",
    "images.txt",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Repository:
    """A clone of this repository, with an author."""
    command = ("git", "clone", "--quiet", "--no-tags", ROOT, tmp_path / "checkout")
    cloned = subprocess.run(command, capture_output=True, text=True, check=False)
    if cloned.returncode:
        pytest.skip(f"this is no repository: {cloned.stderr.strip()}")
    repository = Repository(tmp_path / "checkout")
    repository.git("config", "user.name", "A. Releaser")
    repository.git("config", "user.email", "releaser@example.org")
    return repository


def state(repository: Repository) -> tuple[str, ...]:
    """All that a dry run must not change."""
    return tuple(
        repository.git(*command)
        for command in (
            ("rev-parse", "HEAD"),
            ("tag",),
            ("status", "--porcelain", "--ignored"),
            ("branch", "--all"),
        )
    )


def test_a_dry_run_makes_everything_and_keeps_nothing(checkout: Repository) -> None:
    before = state(checkout)
    sums = release(checkout, NEW, "registry.example/headgate", keep=False)
    assert {line.split()[1] for line in sums.splitlines()} == FILES
    assert state(checkout) == before


def test_a_release_is_a_commit_a_tag_and_files(checkout: Repository) -> None:
    before, branch = checkout.git("rev-parse", "HEAD"), checkout.git("branch", "--show-current")
    sums = release(checkout, NEW, "registry.example/headgate", keep=True)
    assert checkout.git("rev-parse", f"v{NEW}^{{commit}}") == checkout.git("rev-parse", "HEAD") != before
    assert checkout.git("rev-parse", "HEAD^") == before
    assert checkout.git("branch", "--show-current") == branch
    assert checkout.git("log", "-1", "--format=%s %an") == f"Release {NEW} A. Releaser"
    assert checkout.git("cat-file", "-t", f"v{NEW}") == "tag"
    assert "### Added" in checkout.git("tag", "--list", "--format=%(contents)", f"v{NEW}")
    changed = set(checkout.git("diff", "--name-only", "HEAD^", "HEAD").split())
    assert changed == {*PLACES, "CHANGELOG.md"}
    assert f"## Unreleased\n\n## {NEW} - " in (checkout.root / "CHANGELOG.md").read_text()
    assert checkout.git("status", "--porcelain") == ""
    folder = checkout.root / "dist" / NEW
    assert {path.name for path in folder.iterdir()} == FILES | {"SHA256SUMS"}
    for line in sums.splitlines():
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert f"registry.example/headgate-dataplane:{NEW}" in (folder / "images.txt").read_text()
    with pytest.raises(ReleaseError, match=f"there is a tag v{NEW}"):
        release(checkout, NEW, "headgate", keep=True)


def test_a_checkout_with_changes_is_not_released(checkout: Repository) -> None:
    (checkout.root / "new file").touch()
    with pytest.raises(ReleaseError, match=r"the checkout has changes: .*new file"):
        release(checkout, NEW, "headgate", keep=True)


def test_a_version_that_is_not_newer_is_refused(checkout: Repository) -> None:
    with pytest.raises(ReleaseError, match="is not newer than"):
        release(checkout, "0.0.1", "headgate", keep=True)


def test_helm_reads_the_packed_chart(tmp_path: Path) -> None:
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk has no wheel for this machine")
    packed = chart(ROOT / "charts" / "headgate", 1_700_000_000)
    assert packed == chart(ROOT / "charts" / "headgate", 1_700_000_000)
    (tmp_path / "headgate.tgz").write_bytes(packed)
    with tarfile.open(tmp_path / "headgate.tgz") as archive:
        assert {name.split("/")[0] for name in archive.getnames()} == {"headgate"}
    with helm.Chart.load(str(tmp_path / "headgate.tgz")) as loaded:
        rendered = loaded.render({"existingSecret": "secrets"}, name="demo", namespace="prod")
    assert any("Deployment" in text for text in rendered.values())
