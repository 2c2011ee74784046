"""The config stream to the control plane."""

from __future__ import annotations

from dataplane.config.stream.channel import Endpoint
from dataplane.config.stream.client import Backoff, ConfigStream

__all__ = ["Backoff", "ConfigStream", "Endpoint"]
