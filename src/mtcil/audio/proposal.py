"""A study of the user's own audio: every number proposed, each with its reason."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mtcil.audio import features
from mtcil.audio.survey import Survey
from mtcil.core.errors import UserError
from mtcil.settings.sections import FeatureSettings, SplitShares, UpdateSettings

RATES = (8_000, 16_000, 22_050)  # Hz; the paper's two, and the telephone's
SHORT_SECONDS = 1.5  # up to here a clip is taken for a word
LONGEST_SECONDS = 4.0  # UrbanSound8K's longest; more costs time in proportion
MOST_CLIPS = 3_200  # of a class: the paper's for Speech Commands
BASE_SHARE = 0.45  # of the classes; the paper has 0.25 and 0.4
PER_CLASS = 10  # exemplars; the paper's K of both datasets is ten times the classes
# Passes over the training clips, those of the committed studies: base, head_first, then_all,
# compare; and the fewest updates, for folders of a few clips.
PASSES, FEWEST = (30, 20, 15, 25), (200, 60, 60, 100)
BASE_BATCH, STEP_BATCH = 32, 32  # clips of an update: of the base step, and new ones of a step
SEEDS = (0, 1, 2, 3, 4)  # five runs: mean and spread
CanDivide = Callable[[Sequence[int], Sequence[str]], bool]


@dataclass(frozen=True)
class Proposal:
    """What a study of the user's audio says.

    Attributes:
        network: a row of `networks`.
        steps: classes per step.
        heads: of the multitask base model.
        exemplars: K.
        splits: `random`, and `group` where that can be done.
        reasons: (what, value, why) of every number, for the user to read.
    """

    classes: tuple[str, ...]
    features: FeatureSettings
    network: str
    clips_per_class: int
    steps: tuple[int, ...]
    heads: str
    exemplars: int
    updates: UpdateSettings
    splits: tuple[str, ...]
    reasons: tuple[tuple[str, str, str], ...]


def propose(survey: Survey, shares: SplitShares, can_divide: CanDivide) -> Proposal:
    """Numbers of a first study.

    Args:
        shares: of the split; they decide how many clips are learnt from.
        can_divide: (labels, groups) -> whether a split by group gives every part all classes.
    """
    counts = survey.counts
    settings, network, why_features = _features(survey)
    clips_per_class = max(10, min(max(counts.values()), MOST_CLIPS))
    steps = steps_for(len(counts))
    used = [min(n, clips_per_class) for n in counts.values()]
    budget = len(counts) * max(1, min(PER_CLASS, round(shares.train * min(used)) // 3))
    updates = updates_for(steps, shares.train * float(np.mean(used)))
    splits, why_splits = _splits(survey, can_divide)
    heads = heads_for(steps[0])
    reasons = (
        *why_features,
        ("network", network, "of settings.yaml, made for features of about this size"),
        _clips_reason(clips_per_class, counts),
        ("steps", "-".join(map(str, steps)), "base step about 45 % of the classes, the rest equal"),
        ("heads", heads, "multitask: all base classes, and smaller subsets of them"),
        (
            "exemplars",
            str(budget),
            f"K: {PER_CLASS} for each class, as in the paper, but at most a third of the "
            "training clips of the smallest class",
        ),
        (
            "updates",
            "/".join(str(n) for n in vars(updates).values()),
            f"base/head_first/then_all/compare: {'/'.join(map(str, PASSES))} passes over the "
            f"training clips, as in the other studies, and at least {'/'.join(map(str, FEWEST))}",
        ),
        ("splits", ", ".join(splits), why_splits),
        ("seeds", ", ".join(map(str, SEEDS)), "results are mean and spread over five runs"),
    )
    return Proposal(
        tuple(counts), settings, network, clips_per_class, steps, heads, budget, updates, splits,
        reasons,
    )  # fmt: skip


def steps_for(n_classes: int) -> tuple[int, ...]:
    """Classes per step: a base step of about BASE_SHARE, then about four equal ones.

    Two classes make a base step and nothing else: it cannot have fewer.
    """
    if n_classes == 2:
        return (2,)
    options = [
        (n_classes - n_steps * size, n_steps, size)
        for n_steps in range(min(3, n_classes - 2), 8)
        for size in range(1, n_classes)
        if n_classes - n_steps * size >= 2
    ]

    def distance(option: tuple[int, int, int]) -> tuple[float, int]:
        base, n_steps, _ = option
        away = abs(base / n_classes - BASE_SHARE) + 0.02 * abs(n_steps - 4)
        return round(away, 6), n_steps

    base, n_steps, size = min(options, key=distance)
    return (base, *[size] * n_steps)


def heads_for(n_base: int) -> str:
    """Heads of the multitask base model: as the paper's 5-4-3-2, of large base steps quarters."""
    if n_base == 2:
        return "2-2"
    if n_base <= 5:
        sizes = list(range(n_base, 1, -1))
    else:
        sizes = [round(n_base * quarters / 4) for quarters in (4, 3, 2, 1)]
    return "-".join(map(str, sizes))


def updates_for(steps: Sequence[int], train_clips: float) -> UpdateSettings:
    """Lengths of training for this many training clips per class, on average."""
    base = math.ceil(steps[0] * train_clips / BASE_BATCH)
    new = math.ceil(max(steps[1:], default=1) * train_clips / STEP_BATCH)
    passes = zip(PASSES, (base, new, new, new), FEWEST, strict=True)
    return UpdateSettings(*(max(n * of_pass, fewest) for n, of_pass, fewest in passes))


def _features(
    survey: Survey,
) -> tuple[FeatureSettings, str, list[tuple[str, str, str]]]:
    """Log-mel bins and frames that fit one of the two networks."""
    lengths = np.array([sound.seconds for _, sound in survey.clips])
    rates = np.array([sound.rate for _, sound in survey.clips])
    most, lowest = float(np.percentile(lengths, 95)), int(np.percentile(rates, 10, method="lower"))
    seconds = min(LONGEST_SECONDS, max(0.25, math.ceil(most / 0.25 - 0.01) * 0.25))
    is_short = seconds <= SHORT_SECONDS
    known = RATES[:2] if is_short else RATES
    rate = max([r for r in known if r <= lowest], default=max(lowest, 2_000))
    n_fft = 2 ** round(math.log2(rate * 0.055))
    n_frames, n_bins, network = (32, 32, "gsc") if is_short else (128, 64, "us8k")
    samples = round(rate * seconds)
    hop = n_fft // 2
    if samples // hop != n_frames - 1:
        hop = max(1, min(n_fft, samples // (n_frames - 1)))
    settings = _with_full_bands(FeatureSettings(rate, seconds, n_fft, hop, True, n_bins))
    cut = int((lengths > seconds + 0.01).sum())
    reasons = [
        (
            "sample_rate",
            f"{rate} Hz",
            f"nine of ten clips have {lowest} Hz or more; at most {known[-1]} is proposed for "
            f"{'short' if is_short else 'long'} clips, as in the paper",
        ),
        (
            "seconds",
            f"{seconds:g}",
            f"95 of 100 clips last at most {most:.2f} s (at most {LONGEST_SECONDS:g} s are used); "
            f"{cut} of {len(lengths)} are cut, shorter ones padded",
        ),
        ("n_fft", str(n_fft), f"{1000 * n_fft / rate:.0f} ms, as in the paper about 50"),
        (
            "hop_length",
            str(hop),
            f"gives {settings.n_frames} frames, the size of the network's input",
        ),
        ("log_mel", str(settings.log_mel), "bins; chroma, tonnetz and contrast can be added"),
    ]
    return settings, network, reasons


def _with_full_bands(settings: FeatureSettings) -> FeatureSettings:
    """The settings with as many mel bands as n_fft can fill."""
    for n_bins in (settings.log_mel, 48, 32, 24, 16):
        if n_bins <= settings.log_mel:
            fewer = replace(settings, log_mel=n_bins)
            try:
                features.check(fewer)
            except UserError:
                continue
            return fewer
    raise UserError(
        f"The sample rate of {settings.sample_rate} Hz is too low for features. Use other audio."
    )


def _clips_reason(clips_per_class: int, counts: dict[str, int]) -> tuple[str, str, str]:
    low, high = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    return (
        "clips_per_class",
        str(clips_per_class),
        f"all, up to {MOST_CLIPS}: from {counts[low]} ({low}) to {counts[high]} ({high})",
    )


def _splits(survey: Survey, can_divide: CanDivide) -> tuple[tuple[str, ...], str]:
    """By clip; and by group where speakers or recordings are known and numerous enough."""
    if not survey.has_groups:
        return ("random",), "no speakers or recordings are known: no sub-folders, no GROUP pattern"
    groups = survey.groups
    few = {label: len(of_class) for label, of_class in groups.items() if len(of_class) < 3}
    if few:
        texts = ", ".join(f"{label} {n}" for label, n in list(few.items())[:5])
        return ("random",), f"group needs 3 speakers or recordings of each class, but: {texts}"
    labels = [list(groups).index(clip.label) for clip, _ in survey.clips]
    if not can_divide(labels, [clip.group for clip, _ in survey.clips]):
        return ("random",), "the groups share too many classes: no division was found"
    shared = Counter(group for of_class in groups.values() for group in of_class)
    n_shared = sum(n > 1 for n in shared.values())
    return (
        ("random", "group"),
        f"{len(shared)} speakers or recordings, at least {min(map(len, groups.values()))} of each "
        f"class; {n_shared} occur in several classes and are taken to be the same there",
    )
