"""Bring a dataset's archive here: download it, take a local copy, or synthesise it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pooch

from mtcil.audio import archives
from mtcil.audio.download import NETWORK_ERRORS, Partial, check_url, download
from mtcil.audio.source import Source
from mtcil.core.errors import UserError
from mtcil.core.files import file_digest, whole_file
from mtcil.settings.sections import DatasetSettings


def source_variable(dataset: str) -> str:
    """Name of the environment variable that says where the user has a dataset already."""
    return "MTCIL_SOURCE_" + re.sub(r"\W", "_", dataset).upper()


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
        Facts of the archive, which hold no local path: dataset, kind, file, bytes, sha256,
        official, origin, url, licence.

    Raises:
        UserError: it cannot be had; the message says what to do.
    """
    source: Source | None = dataset.SOURCE
    variable = source_variable(name)
    official = False
    if local is not None:
        taken = _take_local(name, settings.kind, dataset, out_dir, Path(local).expanduser())
        archive, origin, official = taken
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
        notify(f"{name}: what {variable} points at is not the official archive; going on.")
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
    name: str, kind: str, dataset: ModuleType, out_dir: Path, local: Path
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
        raise UserError(f"{local} lies where the pipeline deletes. Move it elsewhere first.")
    found = archives.format_of(local)
    origin = "local folder" if found == "folder" else "local archive"
    drops_root = getattr(dataset, "ROOT_IS_DROPPED", False)
    if drops_root or found == "folder":
        pack = archives.pack_below_root if drops_root else archives.pack
        archive = out_dir / f"{name}.tar"
        if not pack(local, archive, lambda file: dataset.clip_of(file) is not None):
            archive.unlink()
            raise UserError(
                f"{local} holds no clip where {kind} looks for them. The layout that it reads "
                f"stands in src/mtcil/datasets/{kind}.py."
            )
        return archive, origin, False
    source: Source | None = dataset.SOURCE
    official = source is not None and _is_official(local, source)
    archive = out_dir / (source.file_name if source and official else f"{name}.{found}")
    # A copy, never a hard link: DVC makes its outputs read-only, and through a link it would
    # make the user's own file read-only.
    with whole_file(archive) as part:
        shutil.copyfile(local, part)
    return archive, origin, official


def _is_official(archive: Path, source: Source) -> bool:
    if source.n_bytes not in (None, archive.stat().st_size):
        return False
    algorithm, _, expected = source.checksum.partition(":")
    return pooch.file_hash(str(archive), alg=algorithm) == expected


def fetch(
    source: Source, into: Path, partial_dir: Path, variable: str = "MTCIL_SOURCE_<DATASET>"
) -> Path:
    """Download an official archive, going on where an earlier try broke off.

    Args:
        into: folder where the archive appears, whole and with the right checksum.
        partial_dir: keeps what has come so far until then.
        variable: environment variable to name where there is no network.

    Raises:
        UserError: refused URL, no network, an answer such as 404, wrong checksum, full disk.
    """
    check_url(source.url)
    partial = Partial(partial_dir / f"{source.file_name}.part")
    into.mkdir(parents=True, exist_ok=True)
    try:
        pooch.retrieve(
            source.url,
            known_hash=source.checksum,
            fname=source.file_name,
            path=into,
            downloader=lambda url, output, _: download(url, Path(output), partial),
        )
    except (*NETWORK_ERRORS, OSError) as error:
        raise UserError(
            f"Cannot download {source.url}: {_reason(error)}. What has come is kept; run it "
            f"again to go on. If you have the archive or its unpacked folder, set {variable} to "
            "its absolute path."
        ) from error
    except ValueError as error:  # how pooch tells of a wrong checksum
        partial.remove()
        raise UserError(
            f"{source.url}: {error} Run it again to download it afresh. If it fails again, get "
            f"the archive another way and set {variable} to its absolute path."
        ) from error
    partial.remove()
    return into / source.file_name


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".")
