"""The text of a new study's params.yaml."""

import json
import re
import textwrap
from collections.abc import Iterable

from mtcil.audio.proposal import SEEDS, Proposal

PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Words that YAML reads as something else than text.
NOT_TEXT = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")

TEXT = """\
# {title}
# Command:  {variable}=<folder or archive> dvc repro
# Cost:     make estimate STUDY=studies/{name}
# Expected: all results on the page report.html; every number below may be changed
# Keys are explained in the root's params.yaml and settings.yaml.
root: ../..
settings: ../../settings.yaml

exemplars: null
headline: multitask
shown: {name}
seeds: {seeds}

machine: {{device: auto, jobs: 0, backend: loky, scheduler: null, fresh: false}}

datasets:
  {name}:
    kind: folders
    classes:
{classes}
    clips_per_class: {clips_per_class}
    steps: [{steps}]
    exemplars: {exemplars}  # K
    updates: {{base: {base}, head_first: {head_first}, then_all: {then_all}, compare: {compare}}}
    features: {network}  # with the numbers below, in overrides
    network: {network}
    class_order: null
    folds: null
    exclude:{exclude}
    group: {group}
    auxiliary: none

base_models:  # single task and multitask, as in the paper's Figure 4
  {name}:
    single: {{heads: "{single}"{splits}}}
    multitask: {{heads: {multitask}{splits}}}

exemplar_sweeps:{sweeps}
loss_ablations: {{}}  # these four: see studies/arabic_words
epoch_sweeps: {{}}
heads_timings: {{}}
tunings: {{}}
comparisons:{comparisons}
base_probes:
  {name}: {{bases: [single, multitask]{splits}}}

overrides:  # of settings.yaml
  features:
    {network}:
      {{sample_rate: {rate}, seconds: {seconds}, n_fft: {n_fft}, hop_length: {hop}, centred: true,
       log_mel: {log_mel}, chroma: 0, tonnetz: 0, contrast: 0}}
"""


def study_text(
    name: str, variable: str, proposal: Proposal, exclude: Iterable[str], pattern: str | None
) -> str:
    """The text of params.yaml.

    Args:
        name: of the dataset.
        variable: the environment variable that says where its audio is.
        exclude: ids of clips to leave out.
        pattern: that finds the group in a file's name.
    """
    has_steps, settings = len(proposal.steps) > 1, proposal.features
    total = len(proposal.classes)
    splits = f", splits: [{', '.join(proposal.splits)}]" if len(proposal.splits) > 1 else ""
    budgets = sorted({max(total, proposal.exemplars // 4), proposal.exemplars})
    sweep = f"bases: [single, multitask], exemplars: [{', '.join(map(str, budgets))}]"
    honest = ", splits: [group]" if "group" in proposal.splits else ""
    compared = "methods: [finetune, replay, ccil, icarl, joint]"
    methods = f"bases: [single, multitask]{honest}, {compared}"
    excluded = [json.dumps(id, ensure_ascii=False) for id in exclude]
    return TEXT.format(
        title=f"{name}: {total} classes of your own audio.",
        name=name,
        variable=variable,
        classes=_wrapped(_quoted(label) for label in proposal.classes),
        seeds=list(SEEDS),
        clips_per_class=proposal.clips_per_class,
        steps=", ".join(map(str, proposal.steps)),
        exemplars=proposal.exemplars,
        **vars(proposal.updates),
        network=proposal.network,
        exclude="\n" + _wrapped(excluded) if excluded else " []",
        group="null" if pattern is None else json.dumps(pattern, ensure_ascii=False),
        single=proposal.steps[0],
        multitask=proposal.heads,
        splits=splits,
        sweeps=f"\n  {name}: {{{sweep}}}" if has_steps else " {}",
        comparisons=f"\n  {name}: {{{methods}}}" if has_steps else " {}",
        rate=settings.sample_rate,
        seconds=f"{settings.seconds:.2f}",
        n_fft=settings.n_fft,
        hop=settings.hop_length,
        log_mel=settings.log_mel,
    )


def _quoted(text: str) -> str:
    """A name as YAML reads it: in quotes unless it is a plain word."""
    plain = PLAIN.fullmatch(text) and text.lower() not in NOT_TEXT
    return text if plain else json.dumps(text, ensure_ascii=False)


def _wrapped(names: Iterable[str]) -> str:
    """A list in brackets, a few names a line."""
    text = "[" + ", ".join(name.replace(" ", "\0") for name in names) + "]"
    lines = textwrap.wrap(
        text, 94, initial_indent="      ", subsequent_indent="       ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(lines).replace("\0", " ")
