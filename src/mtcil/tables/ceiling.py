"""Gain of each base training, compared with the ceiling's.

The ceiling is a backbone that has seen the classes of all steps, its head cut to the base classes.
It shows how much there may be to gain; it is not a proven bound. Gains are over the single task,
paired by seed, in points of the average without the base step; their p is corrected over the table
(Holm). "Average minus base" is the gain less the gain of the base step. A share is the gain divided
by the ceiling's. "Minus half" is the gain less half of the ceiling's gain of the same seed: above
0, a training closes more than half. "Beyond augmentation" is the difference to the base model that
has only the augmentations among a row's parts, and the same length. These three have no corrected
p. A row is over the seeds that it shares with the single task and the ceiling, its last column also
with the augmented one. Clips are those that pass through the backbone in the base step, auxiliary
words among them; some parts pass a batch several times. Parts keep nothing for later steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mtcil.reporting.columns import (
    AVERAGE,
    MINUS_BASE,
    WITH_BASE,
    by_measure,
    minus_base,
    named,
    order_seeds,
    row_of,
    with_power,
)
from mtcil.reporting.inference import paired_by_seed, paired_difference
from mtcil.reporting.style import gap_text, mean_text, power_cells, with_ci
from mtcil.settings.sections import Heads
from mtcil.settings.study import AUXILIARY, CEILING, SINGLE, BaseRow, Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
PLACE = ["dataset", "split", "exemplars", "method"]
ABOUT = ["base", "heads", "passes", "control"]
AUGMENTATIONS = {"augmentation", "gain", "mixup"}  # parts that change clips and add no task


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per dataset, split, K, method, base model and measure; `measure` is as in `steps`.

    It needs a ceiling and a single task. Only averages have a share and what follows it.
    """
    rows = []
    records = records[[order is None for order in order_seeds(study, records)]]
    for place, part in records.groupby(PLACE, sort=False) if len(records) else ():
        measured = {
            key: by_measure(runs) | minus_base(runs)
            for key, runs in part.groupby(ABOUT, sort=False)
        }
        bases = {key[0]: of for key, of in measured.items()}
        known = study.base_models.get(place[0], {})
        ceiling = next((of for key, of in measured.items() if key[3] == CEILING), None)
        single = bases.get(SINGLE)
        if single is None or ceiling is None:
            continue
        updates = part[part["step"] == 0].set_index(["base", "seed"])["updates"]
        for key, own in measured.items():
            seeds = sorted(set(own[AVERAGE]) & set(single[AVERAGE]) & set(ceiling[AVERAGE]))
            if not seeds or key[0] not in known:
                continue
            about = dict(zip(PLACE + ABOUT, (*place, *key), strict=True))
            about["updates"] = float(updates[key[0]].loc[seeds].mean())
            about["clips"] = about["updates"] * clips_per_update(study, place[0], known[key[0]])
            augmented = bases.get(augmented_only(known, key[0]) or "", {}).get(AVERAGE, {})
            for measure in filter(WITH_BASE.__ne__, own):
                ours, theirs, top = (
                    {s: of[measure][s] for s in seeds} for of in (own, single, ceiling)
                )
                rows.append(_row({**about, "measure": measure}, ours, theirs, top, augmented))
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    averages = table["measure"] == AVERAGE
    return pd.concat(
        [with_power(table[averages], "gain_", study.split), table[~averages]]
    ).sort_index()


def augmented_only(rows: Mapping[str, BaseRow], base: str) -> str | None:
    """Name of the row that has only the augmentations of `base`; None if there is none."""
    own = rows[base]
    kept = set(own.parts) & AUGMENTATIONS
    wanted = (own.heads, own.passes, own.control, own.length, kept)
    for name, row in rows.items():
        if (row.heads, row.passes, row.control, row.length, set(row.parts)) == wanted:
            return name if kept and name != base else None
    return None


def clips_per_update(study: Study, dataset: str, row: BaseRow) -> float:
    """Clips of an update of a base step that pass through the backbone; nan with `distillation`.

    With distillation the updates of the teacher, which pass fewer clips, are counted in.
    """
    if "distillation" in row.parts:
        return float("nan")
    n_base, parts = study.datasets[dataset].steps[0], study.base_parts
    batch = study.base_training.sgd.batch
    sizes = Heads.parse(row.heads, n_base).sizes or ()
    separate = sizes[1:] if row.passes == "separate" else ()
    of_tasks = sum(max(2, round(batch * size / n_base)) for size in separate)
    passes = 1 + ("mixed_classes" in row.parts)
    if "transforms" in row.parts:
        passes += len(parts["transforms"]["versions"])
    if "contrastive" in row.parts and AUGMENTATIONS & set(row.parts):
        passes += 1  # of the unchanged clips
    words = parts[AUXILIARY]["clips_per_batch"] if AUXILIARY in row.parts else 0
    return float(passes * batch + of_tasks + words)


def _row(
    about: dict[str, Any],
    values: dict[int, float],
    single: dict[int, float],
    ceiling: dict[int, float],
    augmented: Mapping[int, float],
) -> dict[str, Any]:
    if about["base"] == SINGLE:
        return row_of(about, values)
    row = row_of(about, values, gain=single)
    if about["measure"] != AVERAGE:
        return row
    gains = [values[s] - single[s] for s in values]
    open_ = [ceiling[s] - single[s] for s in values]
    mean_open = sum(open_) / len(open_)
    row["share"] = 100 * row["gain_mean"] / mean_open if mean_open else float("nan")
    if about["control"] == CEILING:
        return row
    row |= named("half_", paired_difference(gains, [of / 2 for of in open_]))
    beyond = paired_by_seed(values, augmented)
    return row | (named("beyond_", beyond) if beyond else {})


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per dataset, split, K, method and base model."""
    header = [
        "dataset", "split", "K", "method", "base", "heads", "parts or control", "updates",
        "clips through the backbone", "average", "gain over the single task (p by Holm)",
        "corrected CI", "detectable (80 % power)", "gain of average minus base",
        "share of the ceiling's gain", "minus half of the ceiling's gain", "beyond augmentation",
    ]  # fmt: skip
    lines = []
    key = [*PLACE, "base"]
    minus = table[table["measure"] == MINUS_BASE].set_index(key)
    for _, row in table[table["measure"] == AVERAGE].iterrows():
        share, place = row.get("share"), tuple(row[key])
        lines.append(
            [
                *(str(row[k]) for k in (*PLACE, "base", "heads", "control")),
                f"{row['updates']:.0f}",
                "" if pd.isna(row["clips"]) else f"{row['clips']:,.0f}",
                with_ci(row),
                gap_text(row, "gain_", "p_holm"), *power_cells(row, "gain_"),
                gap_text(minus.loc[place], "gain_") if place in minus.index else "",
                "" if pd.isna(share) else f"{mean_text(share)} %", gap_text(row, "half_"),
                gap_text(row, "beyond_"),
            ]
        )  # fmt: skip
    return header, lines
