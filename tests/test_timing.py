"""mtcil.running.timing: what is timed, and that the clock is that of the epoch asked for."""

from conftest import NETWORK, blobs

from mtcil.running import timing
from mtcil.running.timing import time_heads


def test_every_heads_setting_is_timed_in_turns_with_both_passes(base_training):
    found = time_heads(blobs(6, 3, 0), ["3", "3-2", "all"], 2, NETWORK, base_training)
    cases = [("3", "separate"), ("3", "shared"), ("3-2", "separate"), ("3-2", "shared")]
    assert [(t.heads, t.passes, t.round) for t in found] == [
        (*case, turn) for turn in range(2) for case in [*cases, ("all", "shared")]
    ]
    assert all(t.seconds > 0 and t.cpu_seconds > 0 for t in found)


def test_only_the_second_epoch_is_timed(base_training, monkeypatch):
    clock = iter([100.0, 107.0, 200.0, 203.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    found = time_heads(blobs(6, 3, 0), ["3"], 1, NETWORK, base_training)
    assert [t.seconds for t in found] == [7.0, 3.0]
