"""Complete settings of a control plane for tests, independent of the environment."""

from __future__ import annotations

from typing import Any

from controlplane.settings import Settings

_GIVEN: dict[str, Any] = {
    "secret_key": "0123456789abcdef0123456789abcdef",
    "dataplane_token": "dataplane-token-1",
    "service_token": "service-token-123",
    "admin_password": "adminpass",
}


def settings(**changes: Any) -> Settings:
    """The settings with these changes; fields that are not given have their defaults, not the environment's."""
    defaults = {
        name: field.default for name, field in Settings.model_fields.items() if not field.is_required()
    }
    return Settings(_env_file=None, **{**defaults, **_GIVEN, **changes})  # type: ignore[call-arg]
