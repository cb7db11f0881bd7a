"""Features of the auxiliary words, spoken on this machine; see `mtcil.learning.parts.auxiliary`."""

import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from mtcil.audio.extraction import extract
from mtcil.settings.sections import AuxiliaryWords, DatasetSettings, FeatureSettings
from mtcil.settings.study import AUXILIARY


def extract_words(
    words: AuxiliaryWords,
    synthesiser: ModuleType,
    name: str,
    settings: DatasetSettings,
    feature_settings: FeatureSettings,
    into: Path,
    jobs: int = 1,
) -> dict[str, Any]:
    """Speak the words and extract the dataset's features from them.

    Args:
        synthesiser: a file of `mtcil.datasets` with `make`.
        settings: of the dataset that they are for.
        into: the dataset's folder; they get one inside, with the files that `extract` describes.

    Returns:
        What `extract` returns.
    """
    own = replace(
        settings,
        classes=words.words,
        clips_per_class=words.clips_per_word,
        steps=(len(words.words),),
        class_order=None,
        folds=None,
        exclude=(),
        group=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "words.tar"
        synthesiser.make(archive, own)
        place = into / AUXILIARY
        return extract(archive, synthesiser, f"{name}'s words", own, feature_settings, place, jobs)
