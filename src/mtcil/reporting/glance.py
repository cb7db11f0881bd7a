"""What a study found, in a few lines for a terminal; `report.html` has all of it."""

import pandas as pd

from mtcil.reporting.comparison import bases_of, measured, named_bound, ranked
from mtcil.reporting.report import headline
from mtcil.reporting.style import with_ci


def glance(steps: pd.DataFrame, methods: pd.DataFrame) -> str:
    """Average accuracy of single task and multitask, their difference, and the methods.

    Args:
        steps, methods: tables of `summarise`; empty where the study has none.
    """
    lines = ["Average accuracy after the incremental steps, %, mean of n seeds ± half the 95 % CI"]
    for row in headline(steps):
        lines += [
            f"  {row['dataset']}, split {row['split']}, K = {row['K']}",
            f"    single task                  {row['single task, %']}",
            f"    multitask                    {row['multitask, %']}",
            f"    multitask minus single task  {row['multitask minus single task, points']}"
            f": {row['in words']}",
        ]
    for part, _ in bases_of(methods) if len(methods) else []:
        averages = measured(part, "average")
        lines.append(f"  methods on base model {part['base'].iloc[0]}")
        for name in ranked(part):
            row = averages.loc[name]
            text = with_ci(row)
            lines.append(f"    {named_bound(name):28} {text}")
    return "\n".join(lines)
