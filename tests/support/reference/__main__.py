"""Write the generated pages; with --check, print stale ones and exit with 1."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.grafana import dashboard
from tests.support.pages import DOCS, ROOT
from tests.support.reference import (
    admin_api,
    chart,
    commands,
    errors,
    logs,
    metrics,
    resources,
    sdk,
    settings,
)

PAGES: Mapping[str, Callable[[], str]] = {
    "admin-api-operations.md": admin_api.render,
    "chart.md": chart.render,
    "commands.md": commands.render,
    "errors.md": errors.render,
    "logs.md": logs.render,
    "metrics.md": metrics.render,
    "resources.md": resources.render,
    "sdk.md": sdk.render,
    "settings.md": settings.render,
}
"""By the file's name in docs/reference."""

FILES: Mapping[Path, Callable[[], str]] = {
    **{DOCS / "reference" / name: render for name, render in PAGES.items()},
    chart.SCHEMA: chart.described_schema,
    ROOT / "deploy" / "grafana" / "headgate.json": dashboard.render,
    # A chart holds all of its files; Prometheus and Compose read the original.
    chart.CHART / "files" / "rules.yml": (ROOT / "deploy" / "prometheus" / "rules.yml").read_text,
}
"""Every generated file."""


def main() -> int:
    """Raises ValueError with a list of missing descriptions in the code."""
    stale = []
    for target, render in FILES.items():
        page = render()
        if "--check" not in sys.argv:
            target.write_text(page)
        elif not target.exists() or target.read_text() != page:
            stale.append(str(target.relative_to(ROOT)))
    for path in stale:
        sys.stderr.write(f"{path} is not what the code says; run: make docs\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
