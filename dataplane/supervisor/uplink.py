"""Addresses and credentials of the control planes, from the settings and from files that may change at any time."""

from __future__ import annotations

import logging
from pathlib import Path

from dataplane.config.stream import ControlPlanes
from dataplane.setting_checks import check_pair
from dataplane.setting_types import read_token, split_address
from dataplane.settings import Settings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

_log = logging.getLogger(__name__)


class Uplink:
    """The control planes, and the credentials for the next connection."""

    def __init__(self, settings: Settings) -> None:
        """Logs a warning when the credential would be sent unencrypted. Raises OSError, ValueError."""
        self._settings = settings
        self._last = self._read()
        self._last_problem = ""
        if settings.controlplane_ca is None:
            _warn_if_unencrypted(settings.controlplane)

    def control_planes(self) -> ControlPlanes:
        """Read the files again. If they are invalid, perhaps half written, log it and return the last valid content."""
        try:
            renewed = self._read()
        except (OSError, ValueError) as error:
            if str(error) != self._last_problem:
                _log.error("renewed credentials are invalid, the old ones stay in use: %s", error)
            self._last_problem = str(error)
            return self._last
        if renewed != self._last:
            _log.info("renewed credentials are in use")
        self._last, self._last_problem = renewed, ""
        return renewed

    def _read(self) -> ControlPlanes:
        settings = self._settings
        check_pair(settings.controlplane_cert, settings.controlplane_key)
        return ControlPlanes(
            settings.controlplane,
            _token(settings),
            ca=_pem(settings.controlplane_ca),
            cert=_pem(settings.controlplane_cert),
            key=_pem(settings.controlplane_key),
        )


def _token(settings: Settings) -> str | None:
    if settings.dataplane_token_file is not None:
        return read_token(settings.dataplane_token_file).get_secret_value()
    return settings.dataplane_token.get_secret_value() if settings.dataplane_token else None


def _warn_if_unencrypted(addresses: tuple[str, ...]) -> None:
    far = [address for address in addresses if split_address(address)[0] not in _LOOPBACK]
    if far:
        text = "DATAPLANE_TOKEN is sent to %s unencrypted: set CONTROLPLANE_CA"
        _log.warning(text, ", ".join(far))


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    content = path.read_bytes()
    if b"-----BEGIN " not in content:
        raise ValueError(f"{path} holds no PEM")
    return content
