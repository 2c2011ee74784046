"""Delete all snapshots of a folder but the newest: `keep_newest.py FOLDER COUNT`."""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path, count: int) -> None:
    """Incomplete snapshots (.part) go, too: a backup that is under way is complete before this runs."""
    found = sorted(folder.glob("*.db"), key=lambda path: path.stat().st_mtime)
    for path in [*found[:-count], *folder.glob("*.db.part")]:
        path.unlink()
        print(f"deleted {path.name}")
    for path in found[-count:]:
        print(f"kept {path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), max(1, int(sys.argv[2])))
