"""The pause between two snapshots, as a transcript: what a round cost, and how long the next one waits."""

from __future__ import annotations

import pytest

from controlplane.distribute.pace import LONGEST_PAUSE, Pace


class Stage:
    """Publishes to so many data planes, each of which is written after its share of the round's cost."""

    def __init__(self, streams: int) -> None:
        self.pace = Pace()
        self.now = 100.0
        self.streams = streams
        self.revision = 0
        for _ in range(streams):
            self.pace.written(0, self.now)  # the snapshot that each got when it connected

    def round(self, cost: float, *, stalled: int = 0) -> float:
        """Changes keep coming: build for a tenth of the cost, write for the rest, and wait; the seconds waited."""
        began, self.revision = self.now, self.revision + 1
        self.now += cost / 10
        self.pace.published(self.revision, began, self.now, streams=self.streams)
        reading = self.streams - stalled
        for _ in range(reading):
            self.now += cost * 0.9 / reading
            self.pace.written(self.revision, self.now)
        ended = self.now
        self.wait()
        return self.now - ended

    def wait(self) -> None:
        """As the watcher does."""
        while pause := self.pace.pause(self.now):
            self.now += max(pause, 0.0001)


@pytest.mark.parametrize(
    "transcript",
    [
        # A machine as it should be: half of the time is for the fan-out.
        ["20 → 0", "20 → 16", "20 → 16"],
        # One slow round is an accident, and changes nothing.
        ["20 → 0", "20 → 16", "200 → 0", "20 → 16", "20 → 16"],
        # It gets slower: the second slow round tells. It recovers: in some rounds, and without swinging.
        ["20 → 0", "100 → 0", "100 → 82", "20 → 126", "20 → 98", "20 → 78", "20 → 62"],
        # Whatever it costs, changes are not held back for longer than this.
        ["300 → 0", "1000 → 0", "2000 → 0", "200 → 320"],
    ],
)
def test_the_pause_follows_the_cost(transcript: list[str]) -> None:
    stage = Stage(100)

    def play(cost: str) -> str:
        return f"{cost} → {1000 * stage.round(float(cost) / 1000):.0f}"

    assert [play(line.partition(" ")[0]) for line in transcript] == transcript


def test_steady_cost_makes_a_steady_pause() -> None:
    stage = Stage(100)
    _, *pauses = [stage.round(0.05) for _ in range(50)]
    assert max(pauses) - min(pauses) < 0.001
    # With noise in the cost the pause stays within the noise, and the cheaper rounds say how long the fan-out rests.
    noisy = [stage.round(0.05 * (1.2 if number % 2 else 0.8)) for number in range(50)]
    assert 0.01 < min(noisy) <= max(noisy) < 0.05


def test_who_comes_after_a_silence_waits_for_nothing() -> None:
    stage = Stage(100)
    stage.round(0.2)
    assert stage.pace.pause(stage.now + 0.001) == 0


def test_a_pause_is_bounded_while_nobody_reads() -> None:
    stage = Stage(100)
    stage.pace.published(1, stage.now, stage.now + 0.01, streams=100)
    began = stage.now + 0.01
    stage.now = began
    stage.wait()
    assert stage.now - began == pytest.approx(LONGEST_PAUSE, abs=0.001)


def test_those_who_stopped_reading_hold_up_the_others_once() -> None:
    stage = Stage(10)
    assert stage.round(0.02) < 0.02
    assert stage.round(0.02, stalled=5) > 0.4
    # What it cost is forgotten in some rounds, and those who do not read are not expected any more.
    for _ in range(15):
        stage.round(0.02, stalled=5)
    assert stage.round(0.02, stalled=5) < 0.03
    # They read again, and are counted again.
    stage.round(0.02)
    stage.pace.published(99, stage.now, stage.now, streams=10)
    assert repr(stage.pace).endswith("9 to be written>")


def test_what_means_nothing_to_data_planes_costs_its_build() -> None:
    stage = Stage(100)
    for revision in (1, 2):
        stage.pace.published(revision, stage.now, stage.now + 0.004, streams=0)
    assert stage.pace.cost == pytest.approx(0.004)
    assert stage.pace.pause(stage.now + 0.004) == pytest.approx(0.004)


def test_a_late_answer_to_an_older_snapshot_is_no_progress() -> None:
    stage = Stage(10)
    stage.pace.published(7, stage.now, stage.now, streams=10)
    for _ in range(20):
        stage.pace.written(6, stage.now + 0.01)
    assert repr(stage.pace) == "<Pace 0 ms, 9 to be written>"
