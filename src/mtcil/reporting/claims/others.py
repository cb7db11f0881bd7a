"""Claims about other incremental techniques: that multitask combines with them, and adds to them.

*Combines*: from a multitask base, other techniques lose nothing beyond the margin. *Adds*: they
gain. Both are judged apart for techniques with and without exemplars, by one number per seed:
multitask minus single task, mean over the techniques. The text also reports how many techniques
gain or lose on their own, by the p-values of tables/methods, which are corrected by Holm, and
names those with runs that diverged: their averages count, but say little.
"""

from collections.abc import Mapping

import pandas as pd

from mtcil.reporting import comparison
from mtcil.reporting.claims.scope import METHOD, Measure, Scope, nothing
from mtcil.reporting.claims.verdicts import MARGIN, Claim
from mtcil.reporting.inference import CONFIDENCE

# Not counted: the paper's own method (covered by other claims); bounds; GDumb, which starts from a
# new network, so that the base model does not matter; our own.
NOT_OTHERS = {METHOD, *comparison.BOUNDS, "gdumb"}
FAMILIES = {True: "with exemplars", False: "without exemplars"}
STAGE = "compare_methods"
OUR_KIND = "recipe"  # the file in mtcil/methods of our own method and its ablations


def text(scope: Scope) -> list[Claim]:
    """Both claims for each family of techniques, with the number that support them on their own."""
    claims, others = [], _others(scope)
    for family, words in FAMILIES.items():
        of_family = {k: v for k, v in others.items() if _has_exemplars(scope, k) == family}
        gain, gains = _gain(scope, of_family), _gains(scope, of_family)
        clear = gains["gain_p_holm"] < 1 - CONFIDENCE
        above, below = gains["gain_mean"] > 0, gains["gain_mean"] < 0
        combines = f"from a multitask base, techniques {words} lose {MARGIN:.0f} points at most"
        adds = f"a multitask base improves techniques {words}"
        if len(gains):
            combines += f"; {_some(below, clear)} below the single task"
            adds += f"; {_some(above, clear)} above the single task"
        if names := [name for name in of_family if _diverged(scope, name)]:
            combines += f"; with runs that diverged: {', '.join(names)}"
            adds += f"; with runs that diverged: {', '.join(names)}"
        name = "exemplars" if family else "no_exemplars"
        claims += [
            scope.claim(f"text.combines.{name}", "text", combines, "above", gain, null=-MARGIN),
            scope.claim(f"text.adds.{name}", "text", adds, "above", gain),
        ]
    return claims


def _has_exemplars(scope: Scope, name: str) -> bool:
    """Whether a technique replays exemplars in any step, by the bytes that it kept before."""
    base = next(base for base in _bases(scope) if base)
    kept = [
        scope.at_step(STAGE, base, "memory_bytes", step, method=name)
        for step in range(len(scope.settings.steps) - 1)
    ]
    return any(any(of_step.numbers.values()) for of_step in kept)


def _diverged(scope: Scope, name: str) -> bool:
    """Whether a run of a technique, from either base, ended with weights that are not finite."""
    return any(
        any(scope.at_step(STAGE, base, "diverged", -1, method=name).numbers.values())
        for base in _bases(scope)
        if base
    )


def _others(scope: Scope) -> dict[str, list[Measure]]:
    """{technique: averages from multitask and single task}, for those that share a seed."""
    techniques = {}
    comparison_row = scope.study.comparisons.get(scope.dataset)
    compared = comparison_row.methods if comparison_row else ()
    for name in compared or scope.study.methods:
        kind = scope.study.methods[name].get("kind", name)
        sides = [scope.average(STAGE, base, method=name) for base in _bases(scope) if base]
        counts = name not in NOT_OTHERS and kind not in (METHOD, OUR_KIND)
        if counts and len(sides) == 2 and (sides[0] - sides[1]).numbers:
            techniques[name] = sides
    return techniques


def _bases(scope: Scope) -> list[str | None]:
    return [scope.compared(heads) for heads in (scope.multitask, scope.single)]


def _gain(scope: Scope, others: Mapping[str, list[Measure]]) -> Measure:
    """Multitask minus single task, mean over the techniques, for the seeds that all have."""
    bases = _bases(scope)
    if None in bases:
        return nothing("comparisons of other methods on both kinds of base model")
    place = f"{STAGE}/{scope.dataset} split={scope.split}"
    where = f"{place} base={bases[0]} average minus {place} base={bases[1]} average"
    if not others:
        return Measure({}, where)
    gaps = [(multitask - single).numbers for multitask, single in others.values()]
    shared = sorted(set.intersection(*map(set, gaps)))
    means = {seed: sum(gap[seed] for gap in gaps) / len(gaps) for seed in shared}
    return Measure(means, f"{where}, mean of {', '.join(others)}")


def _gains(scope: Scope, others: Mapping[str, list[Measure]]) -> pd.DataFrame:
    """A row per technique of tables/methods: its gain, with the corrected p-value."""
    gains = pd.DataFrame(columns=["gain_mean", "gain_p_holm"])
    table = scope.tables.get("methods", gains)
    if others and "gain_mean" in table:  # not without a row called `single`
        here = table["base"].eq(_bases(scope)[0]) & table["method"].isin(list(others))
        here &= table["dataset"].eq(scope.dataset) & table["split"].eq(scope.split)
        gains = comparison.measured(table[here & table["gain_mean"].notna()], "average")
    return gains


def _some(which: pd.Series, clear: pd.Series) -> str:
    n, n_clear = int(which.sum()), int((which & clear).sum())
    return f"{n} of {len(which)} ({n_clear} significantly)"
