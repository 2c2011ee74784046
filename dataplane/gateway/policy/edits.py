"""Edits of header fields as the configuration says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Names are in lower case. Values may contain variables: %{address}, %{claim:NAME} …"""

    set: Mapping[str, str] = field(default_factory=dict)
    """Fields that replace those of their names."""
    add: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
