"""Helm's own engine for one namespace, and a command line of it for machines without `helm`.

    python -m tests.support.kubernetes.helm upgrade gate charts/headgate -n headgate --set etcd.enabled=true

It takes the commands and options that the documentation uses; any other one is an error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from demo.processes import ROOT
from tests.support.kubernetes.release import CHART, merged

if TYPE_CHECKING:
    import helm_python

Values = dict[str, Any]
UNITS = {"s": 1, "m": 60, "h": 3600}
TIMEOUT = 300
"""Seconds; Helm's own default."""


@dataclass(frozen=True, slots=True)
class Helm:
    """The releases of one namespace. Errors are those of helm_python."""

    kubeconfig: Path
    namespace: str

    def install(self, name: str, values: Values, chart: Path = CHART, **options: Any) -> None:
        """Install a release; `options` are those of helm_python."""
        with self.config() as config:
            config.install(str(chart), name, values, **options)

    def upgrade(self, name: str, values: Values, chart: Path = CHART, **options: Any) -> None:
        """Upgrade it to the chart's defaults, the values given before and these: --reset-then-reuse-values."""
        with self.config() as config:
            given = merged(config.get_values(name), values)
            config.upgrade(str(chart), name, given, reset_values=True, **options)

    def replace(self, name: str, values: Values, chart: Path = CHART, **options: Any) -> None:
        """Upgrade it to the chart's defaults and these values."""
        with self.config() as config:
            config.upgrade(str(chart), name, values, reset_values=True, **options)

    def uninstall(self, name: str, **options: Any) -> None:
        with self.config() as config:
            config.uninstall(name, **options)

    def values(self, name: str) -> Values:
        """The values that the release was given."""
        with self.config() as config:
            return dict(config.get_values(name))

    def test(self, name: str, timeout: int = TIMEOUT) -> str:
        """Run the test of the release; return the log of its pods."""
        with self.config() as config:
            return str(config.test(name, timeout=timeout, logs=True).get("logs", ""))

    def render(self, name: str, values: Values, chart: Path = CHART) -> list[dict[str, Any]]:
        """The objects of the chart, which sees those that the cluster has."""
        from helm_python import Chart

        with self.config() as config, Chart.load(str(chart)) as loaded:
            loaded.validate_schema(values)
            texts = config.render(loaded, values, name=name, namespace=self.namespace)
        files = (text for path, text in texts.items() if path.endswith(".yaml"))
        return [document for text in files for document in yaml.safe_load_all(text) if document]

    def config(self) -> helm_python.Config:
        """The engine's view of the cluster."""
        # Some machines have no wheel of it.
        import helm_python

        return helm_python.Config(kubeconfig_path=self.kubeconfig, namespace=self.namespace)


def seconds(text: str) -> int:
    """A duration of one unit, such as 90s or 5m."""
    return int(text[:-1]) * UNITS[text[-1]]


def values(files: Iterable[str], settings: Iterable[str]) -> Values:
    """Of --values and of --set, later ones before earlier ones."""
    import helm_python

    found: Values = {}
    for file in files:
        found = merged(found, yaml.safe_load(Path(file).read_text()) or {})
    for setting in settings:
        found = merged(found, helm_python.parse_set_string(setting))
    return found


def parser() -> argparse.ArgumentParser:
    """The commands, with the options of each."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("name")
    common.add_argument("-n", "--namespace", default="default")
    common.add_argument("--timeout", type=seconds, default=TIMEOUT)
    changes = argparse.ArgumentParser(add_help=False)
    changes.add_argument("chart", type=Path)
    changes.add_argument("-f", "--values", action="append", default=[])
    changes.add_argument("--set", action="append", default=[])
    changes.add_argument("--wait", action="store_const", const="watcher")
    parser = argparse.ArgumentParser("helm", description="A part of Helm's command line, with Helm's engine.")
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", parents=[common, changes])
    install.add_argument("--create-namespace", action="store_true")
    upgrade = commands.add_parser("upgrade", parents=[common, changes])
    upgrade.add_argument("--reset-then-reuse-values", action="store_true")
    for command in ("test", "uninstall"):
        commands.add_parser(command, parents=[common])
    return parser


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    given = parser().parse_args(arguments)
    helm = Helm(Path(os.environ["KUBECONFIG"]), given.namespace)
    match given.command:
        case "test":
            sys.stdout.write(helm.test(given.name, given.timeout))
        case "uninstall":
            helm.uninstall(given.name, timeout=given.timeout)
        case _:
            _change(helm, given)
    sys.stdout.write(f"{given.command} of {given.name}: done\n")


def _change(helm: Helm, given: argparse.Namespace) -> None:
    options = {"timeout": given.timeout, "wait": given.wait}
    if given.command == "install":
        act, options["create_namespace"] = helm.install, given.create_namespace
    else:
        act = helm.upgrade if given.reset_then_reuse_values else helm.replace
    act(given.name, values(given.values, given.set), given.chart, **options)


def path_of_commands(folder: Path) -> str:
    """A PATH with this environment's `headgate`, and with `helm`: that of the machine, else one in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "helm"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.support.kubernetes.helm "$@"\n'
    )
    program.chmod(0o755)
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(folder)])


if __name__ == "__main__":
    main(sys.argv[1:])
