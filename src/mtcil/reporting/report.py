"""report.html: what a study found, on one page that needs nothing else and can be printed.

It words and arranges what `summarise` and `draw_figures` wrote and computes no number. Same
inputs, same bytes: neither times nor names of a machine are in it.
"""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from mtcil.reporting.claims.ledger import cells_of
from mtcil.reporting.claims.verdicts import Verdict
from mtcil.reporting.comparison import BOUNDS, PLACE, measured, pairs_of, ranked
from mtcil.reporting.provenance import ranges
from mtcil.reporting.style import gap_text, with_ci
from mtcil.reporting.table_files import Page
from mtcil.settings.study import MULTITASK, SINGLE, Study

TEMPLATE = Path(__file__).with_name("report.html.j2")
# Tables and figures by name, in the order of the page; those not named here come last.
SECTIONS: dict[str, dict[str, str]] = {
    "Base trainings": {
        "gain": "What multitask adds at each step",
        "ceiling": "What each base training gains, beside the ceiling",
        "steps": "Accuracy at each step, all heads (the paper's Figure 4)",
        "exemplars": "Accuracy against the memory budget K (the paper's Figure 5)",
        "probes": "Probes on the frozen base models",
        "orders": "Class orders and trainings",
        "tuning": "Settings that were tried",
    },
    "Training": {
        "losses": "What each loss term is worth (the paper's Table 2)",
        "epochs": "Confusion by the end of fine-tuning (the paper's Figure 2)",
        "fine_tuning": "Ways to fine-tune (the paper's section 3.3)",
        "heads_time": "Time of an epoch by heads (the paper's Table 1)",
    },
    "Methods": {
        "methods": "Methods with at most the same memory",
        "methods_old_new": "Old classes against new ones",
        "methods_memory": "Accuracy against bytes kept",
        "cost": "Cost of each method",
    },
    "Classes": {
        "classes": "Accuracy of each class",
        "confusion": "Which classes are taken for which",
        "confusion_places": "Old classes against the newest",
    },
    "Checks": {
        "leakage": "Speakers and recordings in both training and test",
        "ledger": "Bytes kept from step to step",
    },
}
FOLDED = "Not run, or too few seeds"  # opened by a click
VERDICTS = {
    "What held": (Verdict.REPRODUCED, Verdict.SAME_DIRECTION),
    "What did not hold": (Verdict.NOT_REPRODUCED, Verdict.CONTRADICTED),
    "Not comparable with the paper's numbers": (Verdict.NOT_COMPARABLE,),
    FOLDED: (Verdict.NOT_RUN, Verdict.TOO_FEW),
}
DPI, CSS_DPI = 150, 96  # of the pictures, and of a pixel in CSS


@dataclass(frozen=True)
class Picture:
    """A PNG file and what it shows."""

    png: bytes
    about: str

    @property
    def uri(self) -> str:
        """The picture inside its own address."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the page, CSS pixels."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width * CSS_DPI // DPI, height * CSS_DPI // DPI


def render(
    study: Study,
    *,
    tables: Mapping[str, pd.DataFrame],
    pages: Mapping[str, Page],
    pictures: Mapping[str, Picture],
    claims: pd.DataFrame,
    datasets: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> str:
    """The whole page as HTML.

    Args:
        tables: `steps` and `methods` with their numbers; empty where the study has none.
        pages, pictures: by name of the table or figure.
        datasets: facts of each dataset, from metrics/summary.json.
        provenance: facts of each file of records, and the digest of the settings.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cells"] = lambda rows: [list(row.values()) for row in rows]
    text = environment.from_string(TEMPLATE.read_text("utf-8")).render(
        name="The paper's study" if study.root == "." else f"Study {Path.cwd().name}",
        protocols=protocols(study),
        headline=headline(tables["steps"], study.headline),
        best=best_methods(tables["methods"]),
        sections=sections(pages, pictures),
        claims=claims_by_verdict(claims),
        folded=FOLDED,
        datasets=datasets,
        provenance=provenance,
        seeds=ranges(study.seeds),
    )
    return text.lstrip() + "\n"


def protocols(study: Study) -> list[dict[str, str]]:
    """What is learnt, a row per dataset."""
    return [
        {
            "dataset": name,
            "source": settings.kind,
            "classes": str(len(settings.classes)),
            "classes per step": "-".join(map(str, settings.steps)),
            "exemplars K": str(study.budget(name)),
            "class order": _class_order(study, name),
            "heads, single task against multitask": " against ".join(
                study.base_models.get(name, {})[base].heads
                for base in (SINGLE, MULTITASK)
                if base in study.base_models.get(name, {})
            ),
        }
        for name, settings in study.datasets.items()
    ]


def _class_order(study: Study, dataset: str) -> str:
    own = [row.order_seed is not None for row in study.base_models.get(dataset, {}).values()]
    if own and all(own):
        return "drawn per order_seed"
    return "fixed" if study.datasets[dataset].class_order else "drawn per seed"


def headline(steps: pd.DataFrame, shown: str = MULTITASK) -> list[dict[str, str]]:
    """Average incremental accuracy of the single task and of multitask, by dataset and split.

    Args:
        shown: the study's `headline`; another base model gets columns of its own.
    """
    lines = []
    averages = steps[steps["measure"] == "average"] if len(steps) else steps
    for place, part in averages.groupby(PLACE, sort=False) if len(steps) else ():
        by_base = {str(row["base"]): row for _, row in part.iterrows()}
        texts = {base: with_ci(row) for base, row in by_base.items()}
        none = pd.Series(dtype=object)
        multitask = by_base.get(MULTITASK, none)
        own = {
            f"{shown}, %": texts.get(shown, ""),
            f"{shown} minus single task, points": gap_text(by_base.get(shown, none), "gain_"),
        }
        lines.append(
            {
                **dict(zip(("dataset", "split", "K"), map(str, place), strict=True)),
                "single task, %": texts.get(SINGLE, ""),
                "multitask, %": texts.get(MULTITASK, ""),
                "multitask minus single task, points": gap_text(multitask, "gain_"),
                "in words": in_words(multitask),
                **(own if shown not in (SINGLE, MULTITASK) else {}),
            }
        )
    return lines


def in_words(row: pd.Series) -> str:
    """What the 95 % interval of a gain says."""
    if pd.isna(row.get("gain_mean")):
        return "not compared"
    if row["gain_n"] < 3:
        return "too few seeds to tell"
    if row["gain_low"] > 0:
        return "multitask is better"
    return "multitask is worse" if row["gain_high"] < 0 else "no clear difference"


def best_methods(methods: pd.DataFrame) -> list[dict[str, str]]:
    """The method with the best average from each base model; bounds do not count."""
    if methods.empty:
        return []
    lines = []
    for pair in pairs_of(methods):
        for part in filter(len, pair):
            best = next((name for name in ranked(part) if name not in BOUNDS), None)
            if best is None:
                continue
            row, first = measured(part, "average").loc[best], part.iloc[0]
            lines.append(
                {
                    **dict(zip(("dataset", "split", "K"), map(str, first[PLACE]), strict=True)),
                    "base model": f"{first['base']}, heads {first['heads']}",
                    "best method": best,
                    "average, %": with_ci(row),
                }
            )
    return [line for i, line in enumerate(lines) if line not in lines[:i]]


def sections(
    pages: Mapping[str, Page], pictures: Mapping[str, Picture]
) -> dict[str, list[dict[str, Any]]]:
    """{section: its tables and figures}; those of one name are together."""
    known = {name for titles in SECTIONS.values() for name in titles}
    rest = [name for name in dict.fromkeys((*pages, *pictures)) if name not in known]
    more = {"More": {name: name.replace("_", " ").capitalize() for name in rest}}
    found = {
        section: [
            {
                "name": name,
                "title": title,
                "page": pages.get(name),
                "picture": pictures.get(name),
                "about": " ".join(pictures[name].about.split()) if name in pictures else "",
            }
            for name, title in titles.items()
            if name in pages or name in pictures
        ]
        for section, titles in (SECTIONS | more).items()
    }
    return {section: parts for section, parts in found.items() if parts}


def claims_by_verdict(claims: pd.DataFrame) -> dict[str, list[dict[str, str]]]:
    """{group of verdicts: a row per claim}; where its numbers are is in `where`."""
    return {
        group: [
            {
                "dataset": row["dataset"],
                "split": row["split"],
                **cells_of(row),
                "where": row["where"],
            }
            for row in claims[claims["verdict"].isin(verdicts)].to_dict("records")
        ]
        for group, verdicts in VERDICTS.items()
    }
