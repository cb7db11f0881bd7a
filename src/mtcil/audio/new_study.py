"""Write a study of the user's own audio, and say what was found and what to do next."""

import re
import shlex
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np

from mtcil.audio.proposal import Proposal
from mtcil.audio.source import classes_text
from mtcil.audio.sources import list_text
from mtcil.audio.study_text import NOT_TEXT, study_text
from mtcil.audio.survey import Survey
from mtcil.core.errors import UserError
from mtcil.core.files import write_text
from mtcil.settings.sections import has_one_group, source_variable

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check_new(name: str, audio: str, group: str | None, study: Path) -> None:
    """Check what the user typed before any audio is read.

    Raises:
        UserError: no name or no audio, a name that DVC or a shell cannot take, a study that is
            there already, or a pattern that finds no group.
    """
    usage = "Type: make study NAME=birds AUDIO=<folder or archive> [GROUP='^([^_]+)_']."
    if not name or not audio:
        raise UserError(f"{'NAME' if not name else 'AUDIO'} is missing. {usage}")
    if not NAME.fullmatch(name) or name.lower() in NOT_TEXT:
        raise UserError(
            f"NAME={name} cannot be used: it names a folder, a row and a variable of the shell. "
            "Begin with a letter; use only the letters a-z and A-Z, digits, _ and -; not a word "
            f"that YAML reads as something else ({', '.join(NOT_TEXT)})."
        )
    if study.exists():
        raise UserError(
            f"{study} exists already; nothing was changed. Choose another NAME, or remove the "
            f"folder first. To list changed audio again: make sources STUDY=studies/{name}."
        )
    if group is not None and not has_one_group(group):
        raise UserError(
            f"GROUP={group} must be a regular expression with one pair of parentheses around the "
            "speaker or recording in a file's name, e.g. '^([^_]+)_'."
        )


def write_study(name: str, proposal: Proposal, found: Survey, params: Path, listed: Path) -> None:
    """Write params.yaml and the list of files."""
    text = study_text(name, source_variable(name), proposal, found.damaged, found.pattern)
    write_text(params, text)
    write_text(listed, list_text(found.listed))


def findings(found: Survey, local: Path) -> str:
    """What is in the folder, for the user to check."""
    sounds = [sound for _, sound in found.clips]
    lengths = np.array([sound.seconds for sound in sounds])
    rates = Counter(f"{sound.rate} Hz" for sound in sounds)
    formats = Counter(sound.format for sound in sounds)
    channels = Counter(f"{sound.channels} channels" for sound in sounds)
    low, half, high = np.percentile(lengths, (0, 50, 100))
    lines = [
        f"{local}: {len(sounds)} clips of {len(found.counts)} classes.",
        f"Clips of each class: {classes_text(found.counts)}.",
        f"Lengths: {low:.2f} to {high:.2f} s, half of them up to {half:.2f} s.",
        f"Formats: {_counted(formats)}; {_counted(rates)}; {_counted(channels)}.",
        f"Left out, because they are not clips: {found.left_out or 'no file'}.",
    ]
    if found.has_groups:
        of_class = [len(groups) for groups in found.groups.values()]
        by = "the pattern" if found.pattern else "sub-folders"
        lines.append(
            f"Speakers or recordings, by {by}: {min(of_class)} to {max(of_class)} in a class."
        )
    if found.n_twins:
        lines.append(
            f"Warning: {found.n_twins} files equal an earlier one, byte for byte. In training and "
            "test at once they make results look better than they are."
        )
    if found.damaged:
        lines.append(f"Cannot be read, so named in exclude: {len(found.damaged)} files:")
        lines += [f"  {text}" for text in found.damaged.values()]
    return "\n".join(lines)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} x {what}" for what, n in counts.most_common(6))


def next_steps(name: str, proposal: Proposal, local: Path) -> str:
    """Every proposed number with its reason, what to commit and what to type."""
    lines = [f"\nProposed; change any of it in studies/{name}/params.yaml:"]
    for what, value, why in proposal.reasons:
        lines += textwrap.wrap(
            f"{what:16} {value:16} {why}", 100, initial_indent="  ", subsequent_indent=" " * 36
        )
    if len(proposal.steps) == 1:
        lines.append(
            "Two classes make a base step and no later one: only base models are compared."
        )
    variable = f"{source_variable(name)}={shlex.quote(str(local))}"
    lines += [
        "\nCommit the study before anything else: `dvc exp run -S` loses the params.yaml of a",
        "study that is not in git.",
        f'  git add studies/{name} && git commit -m "Study {name}"',
        "Then type:",
        f"  make estimate STUDY=studies/{name}",
        f"  {variable} dvc repro studies/{name}/dvc.yaml",
        f"All results will be on the page studies/{name}/report.html.",
        "After a change of the audio, list it again; then `dvc repro` makes what depends on it:",
        f"  {variable} make sources STUDY=studies/{name}",
    ]
    return "\n".join(lines)
