"""Watches the files of certificates that the configuration names, and reports on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from dataplane.certificates import CHECK_EVERY
from dataplane.config.reports import CertificateReport
from dataplane.config.table import Table
from dataplane.supervisor.change import Changes

_log = logging.getLogger(__name__)


class FileWatch:
    """Checks the files every few seconds, and at once when `check_now` is called."""

    def __init__(self, changes: Changes, every: float = CHECK_EVERY) -> None:
        self._changes = changes
        self._every = every
        self._now = asyncio.Event()
        self._logged: Mapping[str, str] = {}

    def check_now(self) -> None:
        """Check the files now."""
        self._now.set()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self._next()
            await self._changes.refresh_files()
            self._log_problems()

    async def _next(self) -> None:
        try:
            async with asyncio.timeout(self._every):
                await self._now.wait()
        except TimeoutError:
            return
        self._now.clear()

    def _log_problems(self) -> None:
        problems = self._changes.files.problems
        for name, problem in problems.items():
            if self._logged.get(name) != problem:
                _log.error("files of certificate %s cannot be used, the last ones stay: %s", name, problem)
        self._logged = problems


def reports(table: Table, problems: Mapping[str, str]) -> tuple[CertificateReport, ...]:
    """The certificates of a table that were read from files."""
    return tuple(
        CertificateReport(name, one.not_after, problems.get(name, ""))
        for name, one in sorted(table.certificates.items())
        if one.from_files
    )
