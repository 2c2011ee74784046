"""How this node reaches the control planes, out of its settings."""

from __future__ import annotations

import logging
from pathlib import Path

from dataplane.config.stream import Endpoint
from dataplane.settings import Settings, split_address

_NEAR = ("127.0.0.1", "::1", "localhost")

_log = logging.getLogger(__name__)


def endpoint(settings: Settings) -> Endpoint:
    """The control planes and what is shown to them. Warns when the credential would travel unencrypted."""
    if settings.controlplane_ca is None:
        _warn_if_far(settings.controlplane)
    return Endpoint(
        settings.controlplane,
        settings.dataplane_token.get_secret_value(),
        ca=_read(settings.controlplane_ca),
        cert=_read(settings.controlplane_cert),
        key=_read(settings.controlplane_key),
    )


def _warn_if_far(addresses: tuple[str, ...]) -> None:
    far = [address for address in addresses if split_address(address)[0] not in _NEAR]
    if far:
        text = "DATAPLANE_TOKEN goes to %s unencrypted, and can be read on the way: set CONTROLPLANE_CA"
        _log.warning(text, ", ".join(far))


def _read(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None
