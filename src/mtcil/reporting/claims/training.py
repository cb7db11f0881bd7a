"""Claims about training: Table 1 (time), Table 2 (losses), Figure 2 and section 3.3 (epochs)."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from mtcil.reporting import paper
from mtcil.reporting.claims.scope import Measure, Scope, nothing
from mtcil.reporting.claims.verdicts import Claim

RATIOS = paper.TABLE_1_RATIOS
FEW_EPOCHS = min(paper.FIGURE_2, key=int)
FULL = "CE_N+CE_O+KD_N+KD_O"
# Claims about averages: (name, claim, more terms, fewer terms). The size is the paper's own
# difference.
DIFFERENCES = (
    ("exemplars.kd", "exemplars dominate the gain", FULL, "CE_N+KD_N"),
    ("exemplars.ce", "exemplars dominate the gain", "CE_N+CE_O", "CE_N"),
    ("exemplars.all", "without exemplars the average is far lower", FULL, "CE_N"),
    ("kd.both", "distillation adds to the average", FULL, "CE_N+CE_O"),
    ("kd.new", "distillation adds to the average", "CE_N+CE_O+KD_N", "CE_N+CE_O"),
    ("kd.old", "distillation adds to the average", "CE_N+CE_O+KD_O", "CE_N+CE_O"),
    ("kd.alone", "distillation adds to the average", "CE_N+KD_N", "CE_N"),
)


def table_1(scope: Scope) -> list[Claim]:
    """Seconds, which depend on the machine; ratios to one head; and how these grow."""
    claims = []
    times = scope.times()
    place = f"time_heads/{scope.dataset} passes=separate"
    seconds = {heads: _column(times[heads], place) for heads in times}
    ratios = {
        heads: _column((times[heads] / times[scope.single]).rename(heads), place) for heads in times
    }
    if scope.kind == paper.GSC.kind:
        claims += [
            scope.claim(
                f"table1.seconds.{heads}", "Table 1",
                f"seconds of an epoch, heads {heads}", "level",
                seconds.get(heads, nothing(f"heads {heads}")), paper=printed, comparable=False,
            )
            for heads, printed in paper.TABLE_1.items()
        ]  # fmt: skip
    claims += [*_ratio_claims(scope, ratios), _slope_claim(scope, times, place)]
    claims += _size_claims(scope, ratios)
    return [replace(claim, by_round=True) for claim in claims]


def _column(numbers: pd.Series, place: str) -> Measure:
    values = {int(str(turn)): float(number) for turn, number in numbers.items()}
    return Measure(values, f"{place} heads={numbers.name}")


def _ratio_claims(scope: Scope, ratios: Mapping[str, Measure]) -> list[Claim]:
    """Each of the paper's heads settings against one head; on other data, only six heads."""
    with_size = scope.kind == paper.GSC.kind
    if with_size and scope.single == paper.ONE_HEAD:
        cases = [
            (heads, f"heads {heads}", ratio)
            for heads, ratio in RATIOS.items()
            if heads != paper.ONE_HEAD
        ]
    else:
        six = next((heads for heads in ratios if heads.count("-") == 5), "six tasks")
        cases = [(six, f"six heads ({six})", RATIOS["5-4-4-4-4-4"])]
    return [
        scope.claim(
            f"table1.ratio.{heads}", "Table 1",
            f"{text} take longer than one: time of an epoch, x one head", "above",
            ratios.get(heads, nothing(f"heads {heads}")),
            paper=ratio if with_size else None, null=1.0,
        )
        for heads, text, ratio in cases
    ]  # fmt: skip


def _slope_claim(scope: Scope, times: pd.DataFrame, place: str) -> Claim:
    """Least-squares slope of the ratio over the number of heads, for each round."""
    heads = [text for text in times if text != "all"]
    ours = nothing("timings of three heads settings or more")
    if len(heads) > 2:
        ratios = times[heads].div(times[scope.single], axis=0)
        values = {int(str(turn)): _slope(dict(line)) for turn, line in ratios.iterrows()}
        ours = Measure(values, f"{place} slope over heads")
    return scope.claim(
        "table1.slope", "Table 1",
        "time grows with the number of tasks (x one head, per task)",
        "above", ours, paper=_slope(RATIOS) if scope.kind == paper.GSC.kind else None,
    )  # fmt: skip


def _slope(ratios: Mapping[Any, float]) -> float:
    counts = [str(heads).count("-") + 1 for heads in ratios]
    return float(np.polyfit(counts, list(ratios.values()), 1)[0])


def _size_claims(scope: Scope, ratios: Mapping[str, Measure]) -> list[Claim]:
    """With the same number of tasks, more classes take longer; compares neighbours by total."""
    text = "time grows with the classes in each task (x one head)"
    by_count: dict[int, list[tuple[int, str]]] = {}
    for heads in ratios:
        if heads != "all":
            sizes = [int(size) for size in heads.split("-")]
            by_count.setdefault(len(sizes), []).append((sum(sizes), heads))
    pairs = [
        (more, fewer)
        for same in by_count.values()
        for (few, fewer), (many, more) in pairwise(sorted(same))
        if many > few
    ]
    claims = []
    for more, fewer in pairs:
        known = scope.kind == paper.GSC.kind and {more, fewer} <= set(RATIOS)
        size = RATIOS[more] - RATIOS[fewer] if known else None
        against = f"; the paper's own {size:+.2f} is against it" if size and size < 0 else ""
        claims.append(
            scope.claim(
                f"table1.classes.{more}", "Table 1", f"{text}, {more} minus {fewer}{against}",
                "above", ratios[more] - ratios[fewer],
                paper=size if size and size > 0 else None,
            )
        )  # fmt: skip
    missing = nothing("equally many tasks of more and of fewer classes")
    return claims or [scope.claim("table1.classes", "Table 1", text, "above", missing)]


def table_2(scope: Scope) -> list[Claim]:
    """The printed numbers against multitask, and the effect of terms on every base model."""
    bases = scope.bases_in("loss_ablations")
    multitask = scope.plain_bases().get(scope.multitask)
    printed = multitask if multitask in bases else "none"
    claims = _printed(scope, printed) if scope.kind == paper.GSC.kind else []
    for base in bases or ["none"]:
        for name, text, more, fewer in DIFFERENCES:
            size = paper.TABLE_2[more][-1] - paper.TABLE_2[fewer][-1]
            ours = [scope.average("ablate_losses", base, losses=terms) for terms in (more, fewer)]
            claims.append(
                scope.claim(
                    f"table2.{base}.{name}", "Table 2",
                    f"{text}: {more} minus {fewer}{_heads(scope, base)}", "above",
                    ours[0] - ours[1], paper=size if scope.kind == paper.GSC.kind else None,
                )
            )  # fmt: skip
    return claims


def _heads(scope: Scope, base: str) -> str:
    """The heads of a base model, for the text of a claim."""
    row = scope.base_rows().get(base)
    return "" if row is None else f" (heads {row.heads})"


def _printed(scope: Scope, base: str) -> list[Claim]:
    """All numbers of Table 2; those of single steps only if the steps are the paper's."""
    claims = []
    for terms, numbers in paper.TABLE_2.items():
        columns = zip(paper.TABLE_2_COLUMNS, numbers, strict=True)
        for step, (measure, printed) in enumerate(columns):
            if measure == "average":
                ours, what = scope.average("ablate_losses", base, losses=terms), "average"
            elif scope.settings.steps == paper.GSC.steps:
                ours = scope.at_step("ablate_losses", base, "accuracy", step, losses=terms)
                what = f"after {int(measure)} classes"
            else:
                steps = "-".join(map(str, scope.settings.steps))
                ours = Measure({}, f"no such step: steps are {steps}")
                what = f"after {int(measure)} classes"
            name, text = f"table2.{terms}.{measure}", f"{terms}: accuracy, {what}"
            claims.append(scope.claim(name, "Table 2", text, "level", ours, paper=printed))
    return claims


def figure_2(scope: Scope) -> list[Claim]:
    """Old and new classes after fixed numbers of epochs, and the claims of section 3.3."""
    claims = []
    for base in scope.bases_in("epoch_sweeps") or ["none"]:
        for end, shares in paper.FIGURE_2.items():
            papers = dict(zip(("old", "new"), map(float, shares), strict=True))
            ours = {group: _after(scope, base, end, group) for group in papers}
            if scope.kind == paper.GSC.kind:
                claims += [
                    scope.claim(
                        f"figure2.{base}.{group}.{end}", "Figure 2",
                        f"accuracy of {group} classes after {end} epochs", "level", ours[group],
                        paper=printed,
                    )
                    for group, printed in papers.items()
                ]  # fmt: skip
            if end == FEW_EPOCHS:
                size = papers["new"] - papers["old"] if scope.kind == paper.GSC.kind else None
                claims.append(
                    scope.claim(
                        f"figure2.{base}.few", "Figure 2",
                        f"few epochs ({end}) leave new classes worse than old: new minus old",
                        "below", ours["new"] - ours["old"], paper=size,
                    )
                )  # fmt: skip
        claims += _section_3_3(scope, base)
    return claims


def _after(scope: Scope, base: str, end: str, group: str) -> Measure:
    return scope.at_step(
        "sweep_epochs",
        base,
        f"{group}_accuracy",
        paper.FIGURE_2_STEP,
        schedule="two_step",
        stopping=end,
    )


def _section_3_3(scope: Scope, base: str) -> list[Claim]:
    """Early stopping against fixed epochs, and two steps against one large cosine rate."""

    def average(schedule: str, end: str) -> Measure:
        return scope.average("sweep_epochs", base, schedule=schedule, stopping=end)

    def old(schedule: str) -> Measure:
        only = {"schedule": schedule, "stopping": "early"}
        return scope.at_step("sweep_epochs", base, "old_accuracy", -1, **only)

    two_steps = average("two_step", "early")
    claims = [
        scope.claim(
            f"section3.3.{base}.early.{end}", "section 3.3",
            f"early stopping beats {end} epochs, on average", "above",
            two_steps - average("two_step", end),
        )
        for end in paper.FIGURE_2
    ]  # fmt: skip
    keeps = "two-step fine-tuning keeps more than a large cosine rate"
    tests = (
        ("old", f"{keeps}: old classes, last step", old("two_step") - old("cosine")),
        ("average", f"{keeps}: average", two_steps - average("cosine", "early")),
    )
    claims += [
        scope.claim(f"section3.3.{base}.cosine.{name}", "section 3.3", text, "above", ours)
        for name, text, ours in tests
    ]
    return claims
