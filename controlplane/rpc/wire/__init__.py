"""Model ↔ protobuf, both ways. Nothing outside `rpc` touches generated messages."""

from __future__ import annotations
