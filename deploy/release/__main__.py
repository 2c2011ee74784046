"""`python -m deploy.release VERSION [--dry-run] [--prefix NAME]`, for `make release`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from deploy.release import artifacts, changelog, version
from deploy.release.repository import Repository
from deploy.release.version import ReleaseError, Version

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Release; 2 and one line if there is a reason against it."""
    parser = argparse.ArgumentParser(prog="deploy.release")
    parser.add_argument("version", help="X.Y.Z")
    parser.add_argument("--dry-run", action="store_true", help="make everything, and keep nothing")
    parser.add_argument("--prefix", default="headgate", help="what the names of the images begin with")
    options = parser.parse_args()
    try:
        made = release(Repository(ROOT), options.version, options.prefix, keep=not options.dry_run)
    except (ReleaseError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"No release: {error}\n")
        return 2
    sys.stdout.write(made + (_NEXT if not options.dry_run else _DRY).format(options.version, options.prefix))
    return 0


_DRY = "This was a dry run: nothing is kept.\n"
_NEXT = """The files are in dist/{0}. Next:
  git push origin HEAD v{0}
  make images IMAGE_PREFIX={1}    # and push what dist/{0}/images.txt names
"""


def release(repository: Repository, text: str, prefix: str, *, keep: bool) -> str:
    """Make a release. Returns its checksums. Raises ReleaseError, and leaves the checkout as it is then."""
    wanted = Version.parse(text)
    repository.check_clean()
    version.check_newer(wanted, Version.parse(repository.version()), repository.released())
    with tempfile.TemporaryDirectory(prefix="headgate-release-") as folder:
        clone = repository.clone(Path(folder) / "clone")
        epoch = _commit(clone, wanted)
        files = Path(folder) / str(wanted)
        artifacts.make(clone.root, files, str(wanted), prefix, epoch)
        if keep:
            repository.take(clone, f"v{wanted}")
            shutil.copytree(files, repository.root / "dist" / str(wanted), dirs_exist_ok=True)
        return (files / artifacts.SUMS).read_text()


def _commit(clone: Repository, wanted: Version) -> int:
    """Write the version and the changelog, commit and tag them. Returns the commit's time."""
    path = clone.root / "CHANGELOG.md"
    date = datetime.now(UTC).date().isoformat()
    changed, notes = changelog.release(path.read_text(), wanted, date)
    path.write_text(changed)
    old = clone.version()
    if old != str(wanted):
        version.write(clone.root, old, str(wanted))
    epoch = clone.commit(f"Release {wanted}")
    clone.tag(f"v{wanted}", f"Headgate {wanted}\n\n{notes}\n")
    return epoch


if __name__ == "__main__":
    sys.exit(main())
