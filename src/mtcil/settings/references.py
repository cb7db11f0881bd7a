"""What one section of a study's settings says of another, and is not so."""

from collections.abc import Iterable, Iterator, Sequence

from mtcil.settings.reader import Place
from mtcil.settings.sections import DatasetSettings, Heads, source_variable
from mtcil.settings.study import (
    AUXILIARY,
    BASE_SETTINGS,
    MULTITASK,
    Comparison,
    FromBases,
    HeadsTiming,
    Study,
    Tuning,
)

Mistake = tuple[Place, str]
SECTIONS_FROM_BASES = (
    *("exemplar_sweeps", "loss_ablations", "epoch_sweeps", "comparisons", "base_probes"),
)
TWO_STEP = "ccil"  # the method of two-step fine-tuning (paper, section 3.3)
# They are about incremental steps.
SECTIONS_OF_STEPS = (
    *("exemplar_sweeps", "loss_ablations", "epoch_sweeps", "tunings", "comparisons"),
)


def cross_references(study: Study) -> Iterator[Mistake]:
    """What one section says of another and is not so."""
    if study.shown not in study.datasets:
        yield ("shown",), f"there is no datasets.{study.shown}. There are: {_list(study.datasets)}."
    known = {base: None for rows in study.base_models.values() for base in rows}
    if study.headline not in known:
        yield ("headline",), f"there is no such row of base_models. There are: {_list(known)}."
    variables = dict[str, str]()
    for name, settings in study.datasets.items():
        yield from _check_dataset(study, name, settings)
        variable = source_variable(name)
        if variables.setdefault(variable, name) != name:
            text = f"{variables[variable]} has the same source, {variable}. Rename one of both."
            yield ("datasets", name), text
    keyed = ("base_models", "heads_timings", "tunings", *SECTIONS_FROM_BASES)
    lost = {name for section in keyed for name in getattr(study, section)} - set(study.datasets)
    for name in sorted(lost):
        places = [section for section in keyed if name in getattr(study, section)]
        yield (
            (places[0], name),
            f"there is no datasets.{name}. Remove {name} from {', '.join(places)}, or add it.",
        )
    for dataset, of in study.datasets.items():
        for section in SECTIONS_OF_STEPS:
            if len(of.steps) == 1 and dataset in getattr(study, section):
                text = f"datasets.{dataset}.steps has only a base step. Remove {dataset} here."
                yield (section, dataset), text
        yield from _check_bases(study, dataset)
        for section in SECTIONS_FROM_BASES:
            if dataset in getattr(study, section):
                yield from _check_row(study, section, dataset, getattr(study, section)[dataset])
        if dataset in study.tunings:
            yield from _check_tuning(study, dataset, study.tunings[dataset])
        if dataset in study.heads_timings:
            yield from _check_timing(study, dataset, study.heads_timings[dataset])
    if study.base_probes and not study.probes:
        yield ("probes",), "name at least one, or empty base_probes."
    for section in ("tuned", "grids"):
        for name in getattr(study.comparison, section):
            if name not in study.methods:
                yield ("comparison", section, name), f"there is no methods.{name}."


def _list(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"


def _check_dataset(study: Study, name: str, dataset: DatasetSettings) -> Iterator[Mistake]:
    place: Place = ("datasets", name, "auxiliary")
    if dataset.auxiliary not in study.auxiliary_words:
        rows = _list(study.auxiliary_words)
        yield place, f"there is no auxiliary_words.{dataset.auxiliary}. There are: {rows}."
    elif words := study.auxiliary_words[dataset.auxiliary]:
        classes = {label.casefold() for label in dataset.classes}
        both = [word for word in words.words if word.casefold() in classes]
        if both:
            text = (
                f"auxiliary_words.{dataset.auxiliary} has classes of this dataset: {_list(both)}."
            )
            yield place, f"{text} Remove them there."
    features = study.features.get(dataset.features)
    network = study.networks.get(dataset.network)
    if features is None:
        text = f"there is no features.{dataset.features}. There are: {_list(study.features)}."
        yield ("datasets", name, "features"), text
    if network is None:
        text = f"there is no networks.{dataset.network}. There are: {_list(study.networks)}."
        yield ("datasets", name, "network"), text
    if features is None or network is None:
        return
    n_left = network.left_of(features.n_frames) * network.left_of(features.n_bins)
    if n_left < 1:
        yield (
            ("networks", dataset.network, "pools"),
            f"leave nothing of the {features.n_frames} frames x {features.n_bins} bins of "
            f"features.{dataset.features}. Use smaller ones.",
        )
    for place, training in (
        (("step_training", "frozen_blocks"), study.step_training),
        (("comparison", "training", "frozen_blocks"), study.comparison.training),
    ):
        if training.frozen_blocks > len(network.channels):
            yield place, f"is more than networks.{dataset.network} has blocks."
        if n_left == 1 and training.sgd.batch // 2 < 2:  # new clips and memory may pass apart
            yield (
                (*place[:-1], "sgd", "batch"),
                f"must be 4 or more: networks.{dataset.network} leaves one value of each channel "
                f"of features.{dataset.features}, and BatchNorm needs two in half a batch.",
            )


def _check_heads(study: Study, dataset: str, heads: str, place: Place) -> Iterator[Mistake]:
    try:
        Heads.parse(heads, study.datasets[dataset].steps[0])
    except ValueError as error:
        yield place, str(error)


def _check_seeds(
    seeds: Sequence[int] | None, allowed: Sequence[int], place: Place
) -> Iterator[Mistake]:
    if seeds is not None:
        unique = 0 < len(seeds) == len(set(seeds))
        if not (unique and set(seeds) <= set(allowed)):
            yield place, f"must be some of {_list(allowed)}, each once, or null."


def _check_bases(study: Study, dataset: str) -> Iterator[Mistake]:
    rows = study.base_models.get(dataset, {})
    if dataset in study.base_models and not rows:
        yield ("base_models", dataset), f"has no row. Name one, or remove {dataset} here."
    ordered = dict[tuple[object, ...], str]()
    for name, row in rows.items():
        place: Place = ("base_models", dataset, name)
        training = (row.order_seed, row.heads, row.passes, row.control, row.parts, row.method)
        alike = {ordered.setdefault((*training, row.length, s), name) for s in row.splits} - {name}
        if row.order_seed is not None and alike:
            text = f"is that of {_list(sorted(alike))}, which is trained alike. Give each its own."
            yield (*place, "order_seed"), text
        if row.order_seed is not None and study.datasets[dataset].class_order:
            text = f"datasets.{dataset}.class_order fixes the order. Remove one of both."
            yield (*place, "order_seed"), text
        yield from _check_heads(study, dataset, row.heads, (*place, "heads"))
        yield from _check_seeds(row.seeds, study.seeds, (*place, "seeds"))
        if row.method not in study.methods:
            yield (*place, "method"), _no_method(study, row.method)
        if row.control == "longer" and MULTITASK not in rows:
            yield (*place, "control"), f"longer than what? Add a row called {MULTITASK}."
        for part in row.parts:
            if part not in study.base_parts:
                text = f"there is no base_parts.{part}. There are: {_list(study.base_parts)}."
                yield (*place, "parts"), text
        own = study.datasets[dataset].auxiliary
        if AUXILIARY in row.parts and study.auxiliary_words.get(own) is None:
            text = f"{AUXILIARY} needs words. Name them: datasets.{dataset}.auxiliary: english."
            yield (*place, "parts"), text


def _no_method(study: Study, name: str) -> str:
    return f"there is no methods.{name}. There are: {_list(study.methods)}."


def _check_row(study: Study, section: str, dataset: str, row: FromBases) -> Iterator[Mistake]:
    place: Place = (section, dataset)
    rows = study.base_models.get(dataset, {})
    for base in row.bases or rows:
        if base not in rows:
            text = f"there is no base_models.{dataset}.{base}. There are: {_list(rows)}."
            yield (*place, "bases"), text
            continue
        if not set(row.splits) <= set(rows[base].splits):
            text = f"base_models.{dataset}.{base} has splits {_list(rows[base].splits)} only."
            yield (*place, "splits"), text
        yield from _check_seeds(row.seeds, study.base_seeds(dataset, base), (*place, "seeds"))
    key = "methods" if isinstance(row, Comparison) else "method"
    named = getattr(row, key, None) or ()
    for name in [named] if isinstance(named, str) else named:
        if name not in study.methods:
            yield (*place, key), _no_method(study, name)
        elif section == "epoch_sweeps" and TWO_STEP not in (name, study.methods[name].get("kind")):
            text = f"has one phase of training; schedules change the two of {TWO_STEP}. Take that."
            yield (*place, key), text


def _check_tuning(study: Study, dataset: str, row: Tuning) -> Iterator[Mistake]:
    place: Place = ("tunings", dataset)
    rows = study.base_models.get(dataset, {})
    if not study.comparison.grids:
        yield place, "comparison.grids is empty. Name a method there, or remove the row."
    if row.base not in rows:
        text = f"there is no base_models.{dataset}.{row.base}. There are: {_list(rows)}."
        yield (*place, "base"), text
    for name in row.methods or ():
        if name not in study.comparison.grids:
            yield (*place, "methods"), f"there is no comparison.grids.{name}."
    for name, grid in row.base_grids.items():
        inside = (*place, "base_grids", name)
        if name not in rows:
            text = f"there is no base_models.{dataset}.{name}. There are: {_list(rows)}."
            yield inside, text
        elif "task_weight" in grid and rows[name].heads == str(study.datasets[dataset].steps[0]):
            yield inside, "a single task has no task_weight. Remove it."
        else:
            parts = rows[name].parts
            known = [*BASE_SETTINGS]
            known += [f"{p}.{name}" for p in parts for name in study.base_parts.get(p, {})]
            if "length" in grid and rows[name].length != 1:
                text = f"base_models.{dataset}.{name} has a length of its own. Use one of both."
                yield inside, text
            unknown = [setting for setting in grid if setting not in known]
            if unknown:
                yield inside, f"there is no setting {unknown[0]}. There are: {_list(known)}."
        if not grid or not all(grid.values()):
            yield inside, "must name at least one setting, each with at least one value."
    if both := sorted(set(row.seeds) & set(study.seeds)):
        yield (*place, "seeds"), f"{_list(both)} are seeds of the study; take others."


def _check_timing(study: Study, dataset: str, row: HeadsTiming) -> Iterator[Mistake]:
    place: Place = ("heads_timings", dataset, "heads")
    for heads in row.heads:
        yield from _check_heads(study, dataset, heads, place)
    single = str(study.datasets[dataset].steps[0])
    if single not in row.heads:
        yield place, f'must include "{single}", the baseline.'
