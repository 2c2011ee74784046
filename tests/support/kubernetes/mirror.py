"""Objects of one kind, kept in step with the API server by a watch, as every controller does it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpx

Object = dict[str, Any]
PAUSE = 0.2
"""Seconds before the next list after a failure."""


class Mirror:
    """The objects of a path such as /api/v1/services, read in a thread of its own."""

    def __init__(self, client: httpx.Client, path: str) -> None:
        self._client = client
        self._path = path
        self._listed = threading.Event()
        self.objects: dict[tuple[str, str], Object] = {}
        """By namespace and name; replaced or changed while others read it."""

    def start(self) -> None:
        """Returns when the objects are known."""
        threading.Thread(target=self._run, daemon=True).start()
        self._listed.wait()

    def _run(self) -> None:
        while True:
            try:
                self.follow(self._list())
            except (httpx.HTTPError, ValueError) as error:
                sys.stderr.write(f"{self._path}: {error!r}\n")
                time.sleep(PAUSE)

    def _list(self) -> Iterable[str]:
        """Read all objects; the events after that, line by line."""
        found = self._client.get(self._path).raise_for_status().json()
        self.objects = {_key(each): each for each in found["items"]}
        self._listed.set()
        parameters = {"watch": "true", "resourceVersion": found["metadata"]["resourceVersion"]}
        quiet = httpx.Timeout(10, read=None)
        with self._client.stream("GET", self._path, params=parameters, timeout=quiet) as answer:
            answer.raise_for_status()
            yield from answer.iter_lines()

    def follow(self, lines: Iterable[str]) -> None:
        """Apply events until the server ends them. ValueError if it no longer knows the version that was listed."""
        for line in lines:
            event = json.loads(line)
            match event["type"]:
                case "ADDED" | "MODIFIED":
                    self.objects[_key(event["object"])] = event["object"]
                case "DELETED":
                    self.objects.pop(_key(event["object"]), None)
                case kind:
                    raise ValueError(f"{kind}: {event['object']}")


def _key(found: Object) -> tuple[str, str]:
    return found["metadata"]["namespace"], found["metadata"]["name"]
