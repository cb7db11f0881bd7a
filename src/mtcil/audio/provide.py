"""Bring a dataset's archive here: download it, take a local copy, or synthesise it."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mtcil.audio import archives
from mtcil.audio.download import NETWORK_ERRORS, check_url, download, remove
from mtcil.audio.source import MIN_CLIPS, Source, classes_text
from mtcil.audio.sources import own_members
from mtcil.core.errors import UserError
from mtcil.core.files import file_digest, whole_file
from mtcil.settings.sections import DatasetSettings, source_variable


def check_classes(name: str, settings: DatasetSettings, dataset: ModuleType) -> None:
    """Raise UserError where the study names a class that the dataset does not have."""
    known = getattr(dataset, "CLASSES", None)
    unknown = [label for label in settings.classes if known is not None and label not in known]
    if unknown:
        raise UserError(
            f"datasets.{name}.classes names {', '.join(unknown)}, but {settings.kind} has only "
            f"{', '.join(known or ())}. Correct it in params.yaml."
        )


def provide_archive(
    name: str,
    settings: DatasetSettings,
    dataset: ModuleType,
    out_dir: Path,
    partial_dir: Path,
    local: str | None,
    notify: Callable[[str], None],
) -> dict[str, Any]:
    """Put one archive of a dataset into `out_dir`, and nothing else.

    Args:
        name: of the dataset in `params.yaml`.
        dataset: the file of `mtcil.datasets` that reads it.
        partial_dir: keeps half-finished downloads; it survives a killed run.
        local: an archive or a folder that the user has; None downloads or synthesises.
        notify: called with remarks for the user.

    Returns:
        Facts of the archive, without local paths: dataset, kind, file, bytes, sha256,
        official, origin, url, licence.

    Raises:
        UserError: it cannot be provided; the message says what to do.
    """
    source: Source | None = dataset.SOURCE
    variable = source_variable(name)
    official = False
    if local is not None:
        where = Path(local).expanduser()
        archive, origin, official = _take_local(name, settings, dataset, out_dir, where, notify)
    elif hasattr(dataset, "make"):
        archive, origin = out_dir / f"{name}.tar", "synthetic"
        dataset.make(archive, settings)
    elif source is not None:
        archive, origin = fetch(source, out_dir, partial_dir, variable), "official URL"
        official = True
    else:
        raise UserError(
            f"Dataset {name} ({settings.kind}) has no official archive to download. "
            f"Set {variable} to the absolute path of your archive or folder."
        )
    if local is not None and source is not None and not official:
        notify(f"{name}: {variable} is not the official archive; it is used all the same.")
    for other in out_dir.iterdir():
        if other != archive and other.is_file():
            other.unlink()
    return {
        "dataset": name,
        "kind": settings.kind,
        "file": archive.name,
        "bytes": archive.stat().st_size,
        "sha256": file_digest(archive),
        "official": official,
        "origin": origin,
        "url": source.url if source else None,
        "licence": source.licence if source else None,
    }


def _take_local(
    name: str,
    settings: DatasetSettings,
    dataset: ModuleType,
    out_dir: Path,
    local: Path,
    notify: Callable[[str], None],
) -> tuple[Path, str, bool]:
    """Copy or pack the user's data: the archive made, its origin, whether it is the official one.

    Only the official archive keeps a name of its own; others are called after the dataset.
    """
    if not local.exists():
        raise UserError(
            f"{source_variable(name)}: there is no {local.absolute()}. Set it to the absolute "
            "path of an archive or a folder, or unset it."
        )
    if local.resolve().is_relative_to(out_dir.resolve()):
        raise UserError(f"{local} is in a folder that the pipeline empties. Move it first.")
    found = archives.format_of(local)
    origin = "local folder" if found == "folder" else "local archive"
    source: Source | None = dataset.SOURCE
    official = found != "folder" and source is not None and _is_official(local, source)
    if not official:
        check_local(name, settings, dataset, local, notify)
    drops_root = getattr(dataset, "ROOT_IS_DROPPED", False)
    if not official and (drops_root or found == "folder"):
        pack = archives.pack_below_root if drops_root else archives.pack
        archive, excluded = out_dir / f"{name}.tar", set(settings.exclude)
        pack(
            local,
            archive,
            lambda file: dataset.clip_of(file) is not None,
            lambda file: dataset.clip_of(file).id in excluded,
        )
        return archive, origin, False
    archive = out_dir / (source.file_name if source and official else f"{name}.{found}")
    # A copy, never a hard link: DVC makes its outputs read-only, and through a link it would
    # make the user's own file read-only.
    with whole_file(archive) as part:
        shutil.copyfile(local, part)
    return archive, origin, official


def check_local(
    name: str,
    settings: DatasetSettings,
    dataset: ModuleType,
    local: Path,
    notify: Callable[[str], None],
) -> None:
    """Check from names alone, before anything is copied, that a study's clips are there.

    Args:
        notify: called with a line about files that are left out.

    Raises:
        UserError: no clip, too few clips of a class, or `exclude` names a clip that is not there.
    """
    members = own_members(dataset, local)
    clips = [dataset.clip_of(member) for member in members.clips]
    if not clips:
        raise UserError(
            f"{local} contains no clip where {settings.kind} looks for them. It contains "
            f"{members.others_text()}. The layout is described in "
            f"src/mtcil/datasets/{settings.kind}.py."
        )
    excluded = set(settings.exclude)
    kept = [clip for clip in clips if clip.id not in excluded]
    labels = Counter(clip.label for clip in kept)
    few = {label: labels[label] for label in settings.classes if labels[label] < MIN_CLIPS}
    if few:
        raise UserError(
            f"{name}: each class needs at least {MIN_CLIPS} clips, but {local} has "
            f"{classes_text(few)}. All classes in it: {classes_text(labels)}. Correct "
            f"datasets.{name}.classes in params.yaml, or the folders: the layout is described in "
            f"src/mtcil/datasets/{settings.kind}.py."
        )
    if unknown := excluded - {clip.id for clip in clips}:
        raise UserError(
            f"datasets.{name}.exclude names {min(unknown)!r}, which is not in {local}. Correct "
            "it in params.yaml: ids are in messages and in clips.csv."
        )
    if members.others:
        notify(f"{name}: left out of {local}, because they are not clips: {members.others_text()}.")
    unnamed = {label: n for label, n in labels.items() if label not in settings.classes}
    if unnamed:
        notify(
            f"{name}: classes that params.yaml does not name are not used: {classes_text(unnamed)}."
        )


def _is_official(archive: Path, source: Source) -> bool:
    if source.n_bytes not in (None, archive.stat().st_size):
        return False
    return _checksum(archive, source) == source.checksum


def _checksum(archive: Path, source: Source) -> str:
    """The checksum of a file, in the form of the source's: "sha256:..." or "md5:..."."""
    algorithm = source.checksum.partition(":")[0]
    return f"{algorithm}:{file_digest(archive, algorithm)}"


def fetch(
    source: Source, into: Path, partial_dir: Path, variable: str = "MTCIL_SOURCE_<DATASET>"
) -> Path:
    """Download an official archive, resuming where an earlier try broke off.

    Args:
        into: folder where the archive appears, whole and with the right checksum.
        partial_dir: keeps what has come so far until then.
        variable: environment variable to name where there is no network.

    Raises:
        UserError: refused URL, no network, an answer such as 404, wrong checksum, full disk.
    """
    check_url(source.url)
    archive, partial = into / source.file_name, partial_dir / f"{source.file_name}.part"
    try:
        if not (archive.is_file() and _is_official(archive, source)):
            download(source.url, partial)
            _check(partial, source, variable)
            _move(partial, archive)
    except (*NETWORK_ERRORS, OSError) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise UserError(
            f"Cannot download {source.url}: {reason}. The part that has arrived is kept; run it "
            f"again to resume. If you have the archive or its unpacked folder, set {variable} to "
            "its absolute path."
        ) from error
    remove(partial)
    return archive


def _check(partial: Path, source: Source, variable: str) -> None:
    """Remove what was downloaded and raise UserError if its checksum is wrong."""
    checksum = _checksum(partial, source)
    if checksum != source.checksum:
        remove(partial)
        raise UserError(
            f"{source.url}: the checksum is {checksum}, but {source.checksum} was expected. "
            "Run it again to download it from the beginning. If it fails again, get the archive "
            f"another way and set {variable} to its absolute path."
        )


def _move(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.replace(to)
    except OSError:  # on another file system
        with whole_file(to) as part:
            shutil.copyfile(file, part)
