"""Passes questions of operators on to workers, and their answers back to the control plane.

One worker explains a decision; all of them show requests. Each question gets one last answer, even if workers end or
hang. When the stream is lost, nobody reads answers any more, and all questions end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from dataplane.channel import Kind
from dataplane.config.decode.question import (
    BadQuestion,
    ExplainQuestion,
    StopQuestion,
    answered,
    not_last,
    problem_answer,
    read_question,
    stop_question,
    tapped_answer,
)

ANSWER_WITHIN: Final = 5.0
"""Seconds that a worker has for an explanation."""
MOST_EXPLAINED: Final = 16
MOST_TAPS: Final = 4
"""Questions of each kind at a time."""


class Asked(Protocol):
    """A worker. `process.WorkerProcess` implements it."""

    name: str

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Queue a frame."""


class _Open:
    """A question without its last answer."""

    def __init__(self, workers: Collection[str], *, explains: bool) -> None:
        self.workers = set(workers)
        """Names of those that may still answer."""
        self.explains = explains
        self.timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Answering:
    """The open questions of one data plane."""

    def __init__(
        self,
        workers: Callable[[], Sequence[Asked]],
        reply: Callable[[bytes], object],
        within: float = ANSWER_WITHIN,
    ) -> None:
        """`workers` are those that serve a configuration; `reply` sends an answer to the control plane."""
        self._workers = workers
        self._reply = reply
        self._within = within
        self._open: dict[str, _Open] = {}

    def take(self, payload: bytes) -> None:
        """A question has come."""
        try:
            question, about = read_question(payload)
        except BadQuestion as error:
            self._reply(problem_answer(error.question, str(error)))
            return
        if isinstance(about, StopQuestion):
            self._stop(question, payload)
            return
        explains = isinstance(about, ExplainQuestion)
        workers = self._workers()[:1] if explains else self._workers()
        alike = sum(one.explains is explains for one in self._open.values())
        if not workers:
            self._reply(problem_answer(question, "No worker of this data plane serves a configuration."))
        elif alike >= (MOST_EXPLAINED if explains else MOST_TAPS):
            self._reply(
                problem_answer(question, "This data plane answers as many questions as it may; try later.")
            )
        else:
            self._ask(question, payload, workers, explains=explains)

    def answered(self, worker: Asked, answer: bytes) -> None:
        """A worker has answered."""
        question, last = answered(answer)
        known = self._open.get(question)
        if known is None:
            return
        if last:
            known.workers.discard(worker.name)
        if last and not known.workers:
            self._end(question)
            self._reply(answer)
        else:
            self._reply(not_last(answer) if last else answer)

    def ended(self, worker: str) -> None:
        """A worker's process has ended."""
        for question, known in list(self._open.items()):
            if worker not in known.workers:
                continue
            known.workers.discard(worker)
            if not known.workers:
                self._end(question)
                self._reply(_unfinished(question, known))

    def lost(self) -> None:
        """The control plane that asked is gone."""
        for question in list(self._open):
            self._stop(question, stop_question(question))
            self._end(question)

    def _ask(self, question: str, payload: bytes, workers: Sequence[Asked], *, explains: bool) -> None:
        known = self._open[question] = _Open([worker.name for worker in workers], explains=explains)
        if explains:
            known.timer = asyncio.get_running_loop().call_later(self._within, self._late, question)
        for worker in workers:
            worker.send(Kind.QUESTION, payload)

    def _stop(self, question: str, payload: bytes) -> None:
        known = self._open.get(question)
        for worker in self._workers() if known is not None else ():
            worker.send(Kind.QUESTION, payload)

    def _late(self, question: str) -> None:
        self._end(question)
        self._reply(problem_answer(question, f"The worker did not answer within {self._within:g} s."))

    def _end(self, question: str) -> None:
        self._open.pop(question).close()


def _unfinished(question: str, known: _Open) -> bytes:
    if known.explains:
        return problem_answer(question, "The worker ended before it answered.")
    return tapped_answer(question, (), 0, last=True)
