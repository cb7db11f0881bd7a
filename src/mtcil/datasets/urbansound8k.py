"""UrbanSound8K: 8,732 excerpts of up to 4 s from field recordings, ten classes, ten folds.

The archive holds `UrbanSound8K/audio/fold<1..10>/<fsID>-<classID>-<occurrence>-<slice>.wav`
(rates, channels and sample formats are mixed) and `UrbanSound8K/metadata/UrbanSound8K.csv`,
which says nothing that the paths do not say. Other copies begin at `audio/` or at `fold1/`.
"""

import re

from mtcil.audio.source import ClipInfo, Source

SOURCE = Source(
    url="https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
    file_name="UrbanSound8K.tar.gz",
    n_bytes=None,
    checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
    licence="CC BY-NC 3.0",
    citation=(
        "J. Salamon, C. Jacoby, J. P. Bello, A Dataset and Taxonomy for Urban Sound Research, "
        "ACM Multimedia, 2014"
    ),
)

# In the order of the official classID, 0..9.
CLASSES = (
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
)

_CLIP = re.compile(
    r"(?:^|/)fold(?P<fold>10|[1-9])/(?P<id>(?P<recording>\d+)-(?P<class>\d)-\d+-\d+)\.wav$"
)


def clip_of(member: str) -> ClipInfo | None:
    """Class, recording (the Freesound id), fold and id of a clip, all from its path."""
    found = _CLIP.search(member)
    if not found:
        return None
    return ClipInfo(
        id=found["id"],
        label=CLASSES[int(found["class"])],
        group=found["recording"],
        fold=int(found["fold"]),
    )
