"""What is in a folder of the user's own audio: classes, clips, lengths, rates, formats, groups."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mtcil.audio.archives import read_members
from mtcil.audio.decode import ClipError, Sound, measure
from mtcil.audio.source import MIN_CLIPS, ClipInfo, classes_text, clip_at
from mtcil.audio.sources import own_members, plain_name, row_of
from mtcil.core.errors import UserError
from mtcil.core.progress import progress

MIN_CLASSES, MAX_CLASSES = 2, 100
MOST_DAMAGED = 20  # clips that a study leaves out by name
SPLITS = {
    *("train", "training", "test", "testing", "eval", "evaluation"),
    *("val", "valid", "validation", "dev"),
}


@dataclass(frozen=True)
class Survey:
    """The contents of a folder or an archive.

    Attributes:
        clips: those that can be read, in the order of their ids.
        damaged: id of each clip that cannot be read -> the fault.
        listed: name -> (bytes, checksum) of each clip that can be read.
        left_out: how many files are not clips, by format; "" if there are none.
        has_groups: whether sub-folders or a pattern name speakers or recordings.
        pattern: that finds the group in a file's name.
    """

    clips: Sequence[tuple[ClipInfo, Sound]]
    damaged: dict[str, str]
    listed: dict[str, tuple[str, str]]
    left_out: str
    has_groups: bool
    pattern: str | None

    @property
    def counts(self) -> dict[str, int]:
        """Clips of each class, by name."""
        return dict(sorted(Counter(clip.label for clip, _ in self.clips).items()))

    @property
    def groups(self) -> dict[str, set[str]]:
        """Speakers or recordings of each class."""
        found: dict[str, set[str]] = {label: set() for label in self.counts}
        for clip, _ in self.clips:
            found[clip.label].add(clip.group)
        return found

    @property
    def n_twins(self) -> int:
        """Clips whose bytes are those of an earlier one."""
        return len(self.listed) - len({checksum for _, checksum in self.listed.values()})


def survey(dataset: ModuleType, local: Path, pattern: str | None) -> Survey:
    """Read a folder or an archive of audio whole.

    Args:
        dataset: `mtcil.datasets.folders`.
        pattern: a regular expression that finds the group in a file's name.

    Raises:
        UserError: it cannot be read, or is not laid out as one folder per class; too few clips
            of a class; too few or too many classes; more than a few damaged clips.
    """
    members = own_members(dataset, local)
    found = [clip_at(dataset, name, pattern) for name in members.clips]
    _check_layout(sorted({clip.label for clip in found if clip}), local, members.others_text())
    names = {members.root + name for name in members.clips}
    clips, damaged, listed = [], {}, {}
    files = read_members(local, names.__contains__)
    for whole_name, content in progress(files, total=len(names), unit=" files"):
        name = whole_name[len(members.root) :]
        clip = clip_at(dataset, name, pattern)
        assert clip is not None  # noqa: S101
        try:
            sound = measure(content, clip.id)
        except ClipError as error:
            damaged[clip.id] = str(error)
            continue
        if plain_name(name) in listed:
            raise UserError(f"{local}: two files are the clip {clip.id}. Remove one of them.")
        listed[plain_name(name)] = row_of(content)
        clips.append((clip, sound))
    clips.sort(key=lambda one: one[0].id)
    made = Survey(
        clips=clips,
        damaged=damaged,
        listed=dict(sorted(listed.items())),
        left_out=members.others_text() if members.others else "",
        has_groups=pattern is not None or any("/" not in clip.group for clip, _ in clips),
        pattern=pattern,
    )
    _check_clips(made, {clip.label for clip in found if clip}, local)
    return made


def _check_layout(classes: Sequence[str], local: Path, others: str) -> None:
    """Refuse, from names alone, what is not one folder per class."""
    layout = "Put the clips into one folder per class: <class>/<file> or <class>/<speaker>/<file>."
    if len(classes) < MIN_CLASSES:
        raise UserError(
            f"{local} must hold {MIN_CLASSES} to {MAX_CLASSES} folders of clips, one for each "
            f"class. Found {len(classes)} such folders and, outside of them, {others}. {layout}"
        )
    if {name.casefold() for name in classes} <= SPLITS:
        raise UserError(
            f"{local}: the folders {', '.join(classes)} look like parts of a split, not like "
            f"classes. {layout} The study divides the clips itself."
        )
    if len(classes) > MAX_CLASSES:
        raise UserError(
            f"{local} holds {len(classes)} classes, more than {MAX_CLASSES}. Move some elsewhere."
        )
    odd = [name for name in classes if name != name.strip() or not name.isprintable()]
    if odd:
        raise UserError(
            f"{local}: the folder {odd[0]!r} cannot be a class: its name begins or ends with a "
            "space, or has letters that cannot be printed. Rename it."
        )
    folded = Counter(name.casefold() for name in classes)
    alike = [name for name in classes if folded[name.casefold()] > 1]
    if alike:
        raise UserError(
            f"{local}: the folders {', '.join(alike)} differ only in case. Merge or rename them."
        )


def _check_clips(made: Survey, labels: set[str], local: Path) -> None:
    """Refuse what could not be learnt from."""
    if len(made.damaged) > MOST_DAMAGED:
        lines = "\n  ".join(list(made.damaged.values())[:MOST_DAMAGED])
        raise UserError(
            f"{local}: {len(made.damaged)} clips cannot be used, among them:\n  {lines}\n"
            "Repair or remove them."
        )
    counts = made.counts
    few = {label: counts.get(label, 0) for label in labels if counts.get(label, 0) < MIN_CLIPS}
    if few:
        damaged = f" ({len(made.damaged)} clips cannot be read)" if made.damaged else ""
        raise UserError(
            f"{local}: each class needs at least {MIN_CLIPS} clips, one for each of training, "
            f"test and validation. Too few: {classes_text(few)}{damaged}. Add clips to these "
            "folders, or move them elsewhere."
        )
