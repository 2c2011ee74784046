"""Traffic after the tour (`make demo TRAFFIC=1`), so that there is something to watch."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx

PATHS = ("/orders", "/public", "/orders", "/together", "/payments")
"""Requests, in turn. Limits refuse some of them, and the user lacks the scope for payments: 403."""
PAUSE = 0.1
"""Seconds between two requests."""


class Traffic:
    """Ten requests a second to the data planes in turn, from a thread, while the block runs."""

    def __init__(self, urls: Sequence[str], client: httpx.Client | None = None) -> None:
        """`urls`: those of the data planes. Failures are ignored, because the gateway shows them."""
        self._urls = urls
        self._client = client or httpx.Client(timeout=5, trust_env=False)
        self._over = threading.Event()
        self._token = ""
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, at the latest after the time-out of a request under way."""
        self._over.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        for url, path in zip(itertools.cycle(self._urls), itertools.cycle(PATHS), strict=False):
            with contextlib.suppress(httpx.HTTPError):
                self._send(url, path)
            if self._over.wait(PAUSE):
                return

    def _send(self, url: str, path: str) -> None:
        if not self._token:
            form = {"username": "testuser", "password": "testpass"}
            answer = self._client.post(f"{url}/api/v1/auth/token", data=form)
            self._token = str(answer.raise_for_status().json()["access_token"])
        answer = self._client.get(url + path, headers={"Authorization": f"Bearer {self._token}"})
        if answer.status_code == 401:
            # It has expired.
            self._token = ""
