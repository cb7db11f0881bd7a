"""mtcil.running.timing: what is timed, and that the clock is that of one epoch."""

from dataclasses import replace

import pytest
from conftest import NETWORK, blobs

from mtcil.running import timing
from mtcil.running.timing import time_heads

CASES = [("3", "separate"), ("3", "shared"), ("3-2", "separate"), ("3-2", "shared")]
CASES += [("all", "shared")]


def test_every_heads_setting_is_timed_in_turns_with_both_passes(base_training):
    found = time_heads(blobs(6, 3, 0), ["3", "3-2", "all"], 2, NETWORK, base_training)
    assert [(t.heads, t.passes, t.round) for t in found] == [
        (*case, turn) for turn in range(2) for case in CASES
    ]


@pytest.fixture
def slow_training(monkeypatch):
    """Clocks that only training moves: 5 seconds to start, then one for each clip passed.

    The processor's clock goes twice as fast.
    """
    now, fits = [100.0], []

    def train(steps):
        fit = next(steps)
        fits.append(fit)
        now[0] += 5 + fit.phase.updates * fit.clips_per_update

    monkeypatch.setattr(timing, "follow", train)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "process_time", lambda: 2 * now[0])
    return fits


def test_one_epoch_is_timed_without_its_start(base_training, slow_training):
    # 18 clips in batches of 16 are two updates. A task of 2 of 3 classes adds 16 * 2 / 3 rows.
    found = time_heads(blobs(6, 3, 0), ["3", "3-2", "all"], 1, NETWORK, base_training)
    clips = dict.fromkeys(CASES, 16.0) | {("3-2", "separate"): 16.0 + 11.0}
    assert {(t.heads, t.passes): t.seconds for t in found} == {
        case: 2 * clips[case] for case in CASES
    }
    assert all(t.cpu_seconds == 2 * t.seconds for t in found)


def test_nothing_is_validated_while_the_clock_runs(base_training, slow_training):
    eager = replace(base_training, fit=replace(base_training.fit, patience=3))
    time_heads(blobs(6, 3, 0), ["3-2"], 1, NETWORK, eager)
    assert len(slow_training) == 2 * 4  # with the round that is not kept
    assert {(fit.validation, fit.phase.patience) for fit in slow_training} == {(None, None)}
