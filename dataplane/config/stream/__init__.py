"""The config stream to the control plane."""

from __future__ import annotations

from dataplane.config.stream.client import Backoff, ConfigStream
from dataplane.config.stream.connect import Target

__all__ = ["Backoff", "ConfigStream", "Target"]
