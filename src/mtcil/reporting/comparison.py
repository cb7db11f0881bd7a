"""Comparison of methods, from the same base models; all but `joint` have at most the same bytes.

Differences are paired by seed and only for the average, the measure of the paper's claims. All
lines of one dataset, split and K are over the seeds that all of them have. If there is no such
seed, each line is over its own.
"""

import pandas as pd

from mtcil.records.measures import average_accuracy_with_base, average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.columns import row_of, same_orders, with_power
from mtcil.reporting.style import base_text, is_single
from mtcil.settings.study import SINGLE, Study

PAPERS, JOINT = "ccil", "joint"  # the paper's method; all clips of all classes
BOUNDS = {JOINT: "upper bound", "finetune": "lower bound", "finetune_new": "lower bound"}
ABOUT = ["base", "dataset", "split", "heads", "passes", "control", "exemplars", "method"]
PLACE = ["dataset", "split", "exemplars"]
KEPT = ["memory_bytes", "state_bytes", "validation_bytes"]
DIFFERENCES = ("ccil_", "gain_", "joint_")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model, method and measure: mean, 95 % CI; differences of the average.

    `ccil_` and `joint_`: differences to the paper's method and to `joint` from the same base;
    `gain_`: to the same method from the single task's base. `<difference>p_holm` is corrected
    over all differences of its kind in the table.
    """
    if records.empty:
        return records
    rows = []
    for _, part in records.groupby(PLACE, sort=False):
        variants = list(part.groupby(ABOUT, sort=False))
        shared = set.intersection(*(set(runs["seed"]) for _, runs in variants))
        by_variant = {
            variant: by_measure(runs[runs["seed"].isin(shared)] if shared else runs)
            for variant, runs in variants
        }
        averages = {(variant[0], variant[-1]): by["average"] for variant, by in by_variant.items()}
        for variant, measures in by_variant.items():
            base, method = variant[0], variant[-1]
            others = {"ccil": (base, PAPERS), "gain": (SINGLE, method), "joint": (base, JOINT)}
            gaps = {
                prefix: averages[other]
                for prefix, other in others.items()
                if other in averages and other != (base, method)
                if same_orders(study, variant[1], base, other[0])
            }
            line = dict(zip(ABOUT, variant, strict=True))
            rows += [
                row_of(line | {"measure": name}, values, **(gaps if name == "average" else {}))
                for name, values in measures.items()
            ]
    table = pd.DataFrame(rows)
    for prefix in DIFFERENCES:
        table = with_power(table, prefix, study.split)
    return table


def by_measure(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """{measure: {seed: value}} of one method from one base: percent; bytes kept for the last step.

    `old` and `new`: accuracy of the old and of the new classes, mean over the incremental steps.
    `updates` and `clips`: of training, all incremental steps together. `diverged`: 1 or 0.
    """
    steps = by_seed(runs)
    later = runs[runs["step"] > 0].groupby("seed")
    last = runs[runs["step"] == runs["step"].max()].set_index("seed")
    return {
        "average": {s: average_incremental_accuracy(a) for s, a in steps.items()},
        "average with base": {s: average_accuracy_with_base(a) for s, a in steps.items()},
        "last step": {s: a[-1] for s, a in steps.items()},
        "old": later["old_accuracy"].mean().to_dict(),
        "new": later["new_accuracy"].mean().to_dict(),
        "bytes": last[KEPT].sum(axis=1).astype(float).to_dict(),
        "updates": later["updates"].sum().astype(float).to_dict(),
        "clips": later["clips_passed"].sum().astype(float).to_dict(),
        "diverged": runs.groupby("seed")["diverged"].max().astype(float).to_dict(),
    }


def bases_of(table: pd.DataFrame) -> list[tuple[pd.DataFrame, list[pd.DataFrame]]]:
    """For each dataset and split, the single task's part of the table, and the others'.

    Without a single task, the first base model takes its place.
    """
    parts = []
    for _, place in table.groupby(PLACE, sort=False):
        bases = [part for _, part in place.groupby("base", sort=False)]
        single = next(filter(is_single, bases), bases[0])
        parts.append((single, [part for part in bases if part is not single]))
    return parts


def pairs_of(table: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Pairs of the single task's part of the table and another's; a missing part is empty."""
    pairs = []
    for first, others in bases_of(table):
        none = first.iloc[:0]
        if is_single(first):
            pairs += [(first, other) for other in others or [none]]
        else:
            pairs += [(none, other) for other in (first, *others)]
    return pairs


def names_of(*parts: pd.DataFrame) -> str:
    """Names and heads of base models: "single (5), multitask (5-4-3-2)"; empty parts are left out.

    Args:
        parts: of the table, each of one base model.
    """
    return ", ".join(base_text(part.iloc[0]) for part in parts if len(part))


def measured(part: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of one measure, by method."""
    return part[part["measure"] == measure].set_index("method")


def ranked(part: pd.DataFrame) -> list[str]:
    """Methods sorted by average, the best first."""
    means = measured(part, "average")["mean"]
    return [str(method) for method in means.sort_values(ascending=False, kind="stable").index]


def named_bound(method: str) -> str:
    """A method's name, marked if it is an upper or lower bound."""
    return f"{method} ({BOUNDS[method]})" if method in BOUNDS else method


def title_of(part: pd.DataFrame) -> str:
    """Dataset, split, K and the numbers of seeds."""
    first, n = part.iloc[0], part["n"]
    seeds = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    return f"{first['dataset']}, split {first['split']}\nK = {first['exemplars']}, n = {seeds}"
