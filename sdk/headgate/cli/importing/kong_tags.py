"""Tags of Kong as labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headgate.cli.importing.notes import Notes
from headgate.cli.importing.values import texts

_TAG = re.compile(r"([A-Za-z0-9._/-]{1,63})(?:[:=]([A-Za-z0-9._/@:+-]{0,63}))?")


def labels(entity: Mapping[str, Any], place: str, notes: Notes) -> dict[str, str]:
    """`team:shop` and `team=shop` become the label team=shop; `shop` becomes a label without a value."""
    made: dict[str, str] = {}
    for position, tag in enumerate(texts(entity.get("tags"))):
        if (found := _TAG.fullmatch(tag)) and len(made) < 32:
            made[found[1]] = found[2] or ""
        else:
            notes.left_out(f"{place}.tags[{position}]", "no label can have this form")
    return made
