"""`python3 -m deploy.rootfs runtime OUT`, `python3 -m deploy.rootfs environment ENV OUT REQUIREMENT RUNTIME`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from deploy.rootfs import base, debian, environment, files, libraries, sbom, stdlib

CHECK = Path(__file__).parents[1] / "healthcheck.py"


def main() -> int:
    """Assemble one layer."""
    parser = argparse.ArgumentParser(prog="deploy.rootfs", description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("runtime")
    one.add_argument("out", type=Path)
    one.set_defaults(run=_runtime)
    other = commands.add_parser("environment")
    other.add_argument("environment", type=Path)
    other.add_argument("out", type=Path)
    other.add_argument("requirement")
    other.add_argument("runtime", type=Path)
    other.set_defaults(run=_environment)
    arguments = parser.parse_args()
    arguments.run(arguments)
    files.set_times(arguments.out, int(os.environ["SOURCE_DATE_EPOCH"]))
    return 0


def _runtime(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    base.lay_out(out)
    stdlib.copy(out)
    files.copy_file(CHECK, out / "opt" / "headgate-healthcheck.py")
    debian.describe(out, [*stdlib.origins(), *libraries.copy(out, out), *base.origins()])
    # After the libraries: a libpython may come with all its symbols.
    files.strip(out)
    libraries.write_cache(out)
    stdlib.compile_below(out)


def _environment(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    environment.copy(arguments.environment, out)
    debian.describe(out, libraries.copy(out, arguments.runtime))
    files.strip(out)
    stdlib.compile_below(out)
    site = environment.site_packages(files.inside(out, arguments.environment))
    # Both layers may have libraries of one package.
    packages = sorted({*debian.described(arguments.runtime), *debian.described(out)})
    bom = sbom.document(arguments.requirement, site, packages, int(os.environ["SOURCE_DATE_EPOCH"]))
    sbom.write(bom, files.inside(out, arguments.environment))


if __name__ == "__main__":
    sys.exit(main())
