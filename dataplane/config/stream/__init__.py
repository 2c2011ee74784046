"""The config stream to the control plane."""

from __future__ import annotations

from dataplane.config.stream.backoff import Backoff
from dataplane.config.stream.config_stream import ConfigStream
from dataplane.config.stream.connect import ControlPlanes

__all__ = ["Backoff", "ConfigStream", "ControlPlanes"]
