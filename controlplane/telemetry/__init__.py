"""Traces, metrics and logs by OpenTelemetry. Only `spans` is imported without an endpoint: it needs no package."""
