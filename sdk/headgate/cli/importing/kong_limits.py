"""The plugin rate-limiting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headgate.cli.importing.draft import Draft
from headgate.cli.importing.values import header_name, number, text, whole

_PERIODS: Final = ("second", "minute", "hour", "day")
_MODES: Final = {"local": "local", "cluster": "fleet", "redis": "redis"}


class Limits:
    """Rate limits, one for each window of a plugin."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._notes = draft.notes
        self._made: dict[tuple[str, bool], list[str]] = {}

    def of(self, config: Mapping[str, Any], place: str, *, callers: bool) -> list[str]:
        """Names of the limits of a plugin. `callers`: the route knows who calls."""
        if (place, callers) not in self._made:
            self._made[place, callers] = self._add(config, place, callers)
        return self._made[place, callers]

    def _add(self, config: Mapping[str, Any], place: str, callers: bool) -> list[str]:
        for period in ("month", "year"):
            if config.get(period) is not None:
                self._notes.left_out(f"{place}.{period}", "the longest time of a limit is a day")
        common = {**self._key(config, place, callers), **self._mode(config, place)}
        common["advertise"] = config.get("hide_client_headers") is not True
        for field in ("error_code", "error_message"):
            if config.get(field) not in (None, 429):
                self._notes.left_out(f"{place}.{field}", "the answer is the gateway's own 429")
        return [
            self._window(period, config[period], common)
            for period in _PERIODS
            if number(config.get(period), 0) > 0
        ]

    def _window(self, period: str, requests: object, common: Mapping[str, Any]) -> str:
        name = self._draft.name("rate_limits", f"per-{period}")
        rate = {"requests": whole(requests, 1, 1, 1_000_000), "per": period}
        self._draft.add("rate_limits", {"name": name, **rate, **common})
        return name

    def _key(self, config: Mapping[str, Any], place: str, callers: bool) -> dict[str, Any]:
        by = text(config.get("limit_by"), "consumer")
        header = header_name(text(config.get("header_name")))
        if by == "header" and header:
            return {"key": f"header:{header}"}
        if by in ("service", "path"):
            self._notes.changed(f"{place}.limit_by", f"{by}: each route counts on its own")
            return {"key": "route"}
        if by in ("consumer", "credential") and callers:
            return {"key": "subject"}
        if by != "ip":
            self._notes.changed(f"{place}.limit_by" if "limit_by" in config else place, "counts by address")
        return {"key": "address"}

    def _mode(self, config: Mapping[str, Any], place: str) -> dict[str, Any]:
        policy = text(config.get("policy"), "local")
        made: dict[str, Any] = {"mode": _MODES.get(policy, "local")}
        if policy == "redis":
            self._notes.left_out(f"{place}.redis", "the address of Redis: set REDIS_URL of the data planes")
            made["on_store_failure"] = "closed" if config.get("fault_tolerant") is False else "open"
        return made
