"""YAML of pages as the command line reads it: files of resources with the defaults of their variables."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from controlplane.model.resources import documents
from headgate.cli.sources import Source


def is_document(value: object) -> bool:
    """Whether it declares resources: Kong's files name their format, and in Compose's services are a mapping."""
    return (
        isinstance(value, Mapping)
        and bool(value.keys() & documents().keys())
        and "_format_version" not in value
        and not isinstance(value.get("services"), Mapping)
    )


def read(text: str) -> list[object]:
    """The values in a text of YAML; in files of other programs, a `$` is theirs."""
    parsed = list(yaml.safe_load_all(text))
    return Source("page.yaml", text).documents({}) if any(map(is_document, parsed)) else parsed
