"""Questions that operators ask a data plane, and its answers. Knows no wire format: `rpc.questions` carries them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from controlplane.model.resources import ResourceId
from controlplane.model.stored import Stamped

MOST_RESOURCES: Final = 2000
"""Resources of an earlier revision that go with a question."""
MOST_BYTES: Final = 2 << 20
"""The same, encoded."""
MOST_SHOWN: Final = 1000
"""Requests that one tap shows."""
LONGEST_TAP: Final = 600.0
"""Seconds."""
USUAL_SHOWN: Final = 20
USUAL_TAP: Final = 60.0
"""The same, unless an operator says otherwise."""


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier configuration, as the difference from the current one."""

    revision: int
    changed: tuple[Stamped, ...] = field(repr=False)
    removed: tuple[ResourceId, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Explain:
    """What would the gateway decide about this request? Header values may be secrets, and are never shown."""

    method: str
    target: str = field(repr=False)
    """Path and query."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """In order, with Host."""
    address: str
    """IP address of the client."""
    secure: bool = False
    past: Past | None = None
    """None: with the configuration that the data plane serves."""


@dataclass(frozen=True, slots=True)
class Tap:
    """Show the next requests that match."""

    route: str = ""
    """Empty: of any."""
    service: str = ""
    least_status: int = 0
    most_status: int = 0
    """0: any."""
    count: int = USUAL_SHOWN
    seconds: float = USUAL_TAP


Question = Explain | Tap


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a decision; see questions.proto."""

    stage: str
    outcome: str
    text: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision about one request, and its steps; see questions.proto."""

    revision: int
    worker: int
    status: int
    decision: str
    detail: str
    reason: str
    route: str
    service: str
    instance: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Tapped:
    """Requests that a tap shows, and the number of those that it does not show because there are too many."""

    requests: tuple[Mapping[str, Any], ...]
    skipped: int


Reply = Explanation | Tapped


class Unanswered(Exception):
    """The data plane does not answer; the message is one sentence without its full stop."""


class Asker(Protocol):
    """The way to data planes. `rpc.questions.Questions` implements it."""

    def ask(self, node: str, question: Question) -> AsyncGenerator[Reply, None]:
        """The answers of one data plane, connected here or to another control plane. Close it to end the question.

        Raises Unanswered.
        """
