"""Load a dataset's features and clip table, and cut them for one seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mtcil.core.errors import UserError
from mtcil.core.randomness import numpy_generator
from mtcil.learning.clips import Clips
from mtcil.learning.protocol import SplitError, draw_class_order, split_clips
from mtcil.settings.sections import DatasetSettings, SplitSettings

COLUMNS = ("id", "class", "group", "fold", "seconds")
AGAIN = "Make them again: dvc repro extract_features --force."


@dataclass(frozen=True)
class SplitData:
    """All clips of a dataset, divided and normalised for one seed.

    Attributes:
        class_order: label k is the k-th class.
        rows: rows of the clip table by part ("train", "test", "validation").
        train, test, validation: the clips of each part, in the order of `rows`.
    """

    class_order: tuple[str, ...]
    rows: dict[str, NDArray[np.int64]]
    train: Clips
    test: Clips
    validation: Clips


def read_features(features_dir: Path) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """The features (clips, frames, bins), memory-mapped, and the clip table beside them.

    Raises:
        UserError: a file is missing or damaged, or they do not belong together.
    """
    try:
        features = np.load(features_dir / "features.npy", mmap_mode="r", allow_pickle=False)
        table = pd.read_csv(
            features_dir / "clips.csv",
            dtype={"id": str, "class": str, "group": str},
            na_filter=False,
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: there is no such file. {AGAIN}") from error
    except (OSError, ValueError, EOFError) as error:
        text = " ".join(str(error).split())  # pandas' have a line break
        raise UserError(f"{features_dir}: the features cannot be read ({text}). {AGAIN}") from error
    if not isinstance(features, np.ndarray):  # an .npz by another name
        features.close()
        raise UserError(f"{features_dir}: features.npy holds no single array. {AGAIN}")
    fits = features.ndim == 3 and features.dtype == np.float32 and len(features) == len(table)
    if not fits or tuple(table.columns) != COLUMNS:
        raise UserError(
            f"{features_dir}: features.npy {features.dtype} {features.shape} and clips.csv "
            f"({len(table)} rows; {', '.join(table.columns)}) do not belong together. {AGAIN}"
        )
    return features, table


def split_rows(
    table: pd.DataFrame,
    dataset: DatasetSettings,
    split: SplitSettings,
    seed: int,
    order_seed: int | None = None,
) -> tuple[tuple[str, ...], NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Class order, labels of all clips, and their rows by part, for one seed.

    The split does not depend on the class order, nor the class order on the split.

    Args:
        order_seed: draws the class order; None: `seed` does.

    Raises:
        UserError: the table has other classes than the settings, or too few clips of one.
    """
    if differing := sorted(set(table["class"]) ^ set(dataset.classes)):
        raise UserError(
            f"clips.csv and params.yaml differ in the classes {', '.join(differing)}. {AGAIN}"
        )
    names = {name: i for i, name in enumerate(dataset.classes)}
    plain = table["class"].map(names).to_numpy(dtype=np.int64)
    groups = table["group"].to_numpy(dtype=np.str_)
    try:
        rows = split_clips(plain, groups, split, numpy_generator(seed, "split"))
    except SplitError as error:
        name = dataset.classes[error.label]
        raise UserError(f"split {split.kind}: class {name} {error.text}") from error
    except ValueError as error:
        raise UserError(f"split {split.kind}: {error}") from error
    of_order = seed if order_seed is None else order_seed
    drawn = draw_class_order(dataset.classes, numpy_generator(of_order, "class order"))
    order = dataset.class_order or drawn
    place = np.array([order.index(name) for name in dataset.classes])
    return order, place[plain], rows


def audit_split(table: pd.DataFrame, rows: dict[str, NDArray[np.int64]]) -> dict[str, int]:
    """What a split did: clips of each part, and how many test clips leak.

    A test clip leaks if a clip of its speaker or recording is in the training part.
    """
    groups = table["group"]
    leaks = groups.iloc[rows["test"]].isin(groups.iloc[rows["train"]])
    return {
        **{f"{part}_clips": len(of_part) for part, of_part in rows.items()},
        "leaking_test_clips": int(leaks.sum()),
    }


def load_split(
    features_dir: Path,
    dataset: DatasetSettings,
    split: SplitSettings,
    seed: int,
    device: torch.device,
    order_seed: int | None = None,
) -> SplitData:
    """Read, divide and normalise a dataset for one seed.

    Each bin is normalised by its mean and standard deviation over the frames of the training
    clips of the base classes alone: later classes are not known yet.

    Raises:
        UserError: what `read_features` and `split_rows` refuse, or features that are not finite.
    """
    features, table = read_features(features_dir)
    order, labels, rows = split_rows(table, dataset, split, seed, order_seed)
    parts = {part: features[of_part] for part, of_part in rows.items()}
    if not all(np.isfinite(values).all() for values in parts.values()):
        raise UserError(f"{features_dir}: features.npy holds numbers that are not finite. {AGAIN}")
    is_base = labels[rows["train"]] < dataset.steps[0]
    mean, std = bin_statistics(parts["train"][is_base])

    def clips(part: str) -> Clips:
        normal = (parts[part] - mean) / std
        x = torch.from_numpy(normal).unsqueeze(1).to(device, memory_format=torch.channels_last)
        return Clips(x, torch.from_numpy(labels[rows[part]]).to(device))

    return SplitData(order, rows, clips("train"), clips("test"), clips("validation"))


def bin_statistics(
    features: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each bin over clips and frames; a constant bin gets 1."""
    mean = features.mean(axis=(0, 1), dtype=np.float64)
    std = features.std(axis=(0, 1), dtype=np.float64)
    return mean.astype(np.float32), np.where(std > 1e-8, std, 1.0).astype(np.float32)
