"""Whole gateways under faults, and what must hold whatever happens."""
