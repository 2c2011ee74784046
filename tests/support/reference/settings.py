"""Settings of both planes: names, types, defaults and descriptions from their classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from pydantic_settings import BaseSettings

from controlplane.settings import Settings as ControlPlane
from controlplane.telemetry.variables import VARIABLES
from dataplane.proxy.bounds import Bounds
from dataplane.settings import Settings as DataPlane
from dataplane.telemetry.settings import PREFIX, Otel, Otlp
from headgate_api import bounds
from tests.support.pages import ROOT
from tests.support.reference.schema import Schemas, cell

HEADER = """\
# Settings

Environment variables, or lines of a `.env` file in the working folder. They are read once at start. If some are wrong,
one message lists all of them, and the process ends with code 2. A warning names each variable that resembles an unset
setting. No secret has a default. Durations are seconds, sizes are bytes; lists are separated by commas. This page is
made from the code (`make docs`).
"""


TELEMETRY = """\

## OpenTelemetry in data planes

The [standard variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/), as far as a
data plane uses them; see [OpenTelemetry](../how-to/opentelemetry.md). Times are milliseconds here. Each
`OTEL_EXPORTER_OTLP_…` also exists for one signal, for instance `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`
(`…_METRICS_…`, `…_LOGS_…`), and then wins over the general one.

| variable | value | default | meaning |
|---|---|---|---|"""


CONTROLPLANE_TELEMETRY = """\

## OpenTelemetry in control planes

A control plane reads these variables itself, and the SDK of OpenTelemetry reads all others of the
[specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/), such as
`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_BLRP_…` and
`OTEL_METRIC_EXPORT_INTERVAL`. Each `OTEL_EXPORTER_OTLP_…` also exists for one signal, and then wins.

| variable | meaning |
|---|---|"""


def settings_of(
    plane: str, file: str = "settings.py", name: str = "Settings", prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Name, default and description of every setting of a plane, in the order of its class."""
    tree = ast.parse((ROOT / plane / file).read_text())
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    for node, after in pairwise([*found.body, ast.Pass()]):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            prose = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                prose = " ".join(str(after.value.value).split())
            yield prefix + node.target.id.upper(), default_of(node.value), prose


def default_of(value: ast.expr | None) -> str:
    """A default in the form of an environment variable."""
    if value is None:
        return "**required**"
    if isinstance(value, ast.Call) and value.args:
        value = value.args[0]
    match value:
        case ast.Attribute(attr=name):  # the defaults of bounds are in their class
            known = getattr(Bounds(), name)
        case ast.Name(id=name):  # those that both planes have
            known = getattr(bounds, name)
        case _:
            known = ast.literal_eval(value)
    if known in (None, "", ()):
        return ""
    text = ",".join(map(str, known)) if isinstance(known, tuple) else str(known)
    return f"`{text.lower() if isinstance(known, bool) else text}`"


def render() -> str:
    """The whole page. ValueError names the settings without prose."""
    lines, silent = [HEADER], []
    planes: tuple[tuple[str, str, type[BaseSettings]], ...] = (
        ("controlplane", "Control plane", ControlPlane),
        ("dataplane", "Data plane", DataPlane),
    )
    for plane, title, settings in planes:
        described = settings.model_json_schema()
        schemas = Schemas(described.get("$defs", {}))
        lines += [f"\n## {title}\n", "| variable | value | default | meaning |", "|---|---|---|---|"]
        for name, default, prose in settings_of(plane):
            words = schemas.words(described["properties"][name.lower()])
            lines.append(f"| `{name}` | {cell(words)} | {cell(default)} | {cell(prose)} |")
            if not prose:
                silent.append(f"{plane} {name}")
    lines.append(TELEMETRY)
    groups: tuple[tuple[type[BaseSettings], str], ...] = ((Otlp, PREFIX), (Otel, "OTEL_"))
    for kind, prefix in groups:
        described = kind.model_json_schema()
        schemas = Schemas(described.get("$defs", {}))
        for name, default, prose in settings_of("dataplane", "telemetry/settings.py", kind.__name__, prefix):
            words = schemas.words(described["properties"][name.removeprefix(prefix).lower()])
            lines.append(f"| `{name}` | {cell(words)} | {cell(default)} | {cell(prose)} |")
            if not prose:
                silent.append(name)
    lines.append(CONTROLPLANE_TELEMETRY)
    lines += [f"| `{name}` | {cell(prose)} |" for name, prose in VARIABLES.items()]
    if silent:
        raise ValueError("settings without prose: " + ", ".join(silent))
    return "\n".join(lines) + "\n"
