"""What the cache writes about its content.

A released version never changes: a new field or a new meaning is a new `schema_version`. The
JSON Schemas in `cache_schemas/` are exported from here by `export_schemas.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from vaest.cache._zarr import Layout
from vaest.digest import digest
from vaest.errors import CacheError
from vaest.types import Modality, Partition

SCHEMA_VERSION = 1

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FeatureSpec(_Model):
    """What the features of a store are: everything that changes their numbers, and nothing else.

    `weights` is the digest of the weights' content; `media` identifies the preprocessing (crop
    size, sample rate, recogniser). Device, batch size and number of workers do not belong here.
    """

    schema_version: Literal[1] = 1
    modality: Modality
    backbone: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    version: int
    config: dict[str, JsonValue]
    weights: str
    media: dict[str, JsonValue]
    dtype: Literal["float16"] = "float16"

    @property
    def digest(self) -> str:
        """SHA-256 of all fields, in hex."""
        return digest(self.model_dump(mode="json"))

    @property
    def store_name(self) -> str:
        return f"{self.backbone}-{self.digest[:12]}.zarr"


class TrialRecord(_Model):
    """The attributes of one trial's features: what they are made of and how to check them.

    `source_digest` identifies the media and the timeline they were computed from. `sha256` is,
    by array, that of the uncompressed little-endian bytes: of the chunk file itself. `provenance`
    explains and is never compared; it must be a function of the inputs, without dates and hosts.
    """

    schema_version: Literal[1] = 1
    complete: Literal[True] = True
    trial: str
    n_frames: Length
    dim: Length
    valid_frames: Count
    source_digest: str
    sha256: dict[str, Sha256]
    provenance: dict[str, JsonValue]

    @property
    def layouts(self) -> tuple[Layout, ...]:
        return feature_layouts(self.n_frames, self.dim)


class TimelineRecord(_Model):
    """The attributes of one trial's timeline. Partition and subject are those of the corpus."""

    schema_version: Literal[1] = 1
    complete: Literal[True] = True
    trial: str
    video_id: str
    partition: Partition | None
    subject: str | None
    n_frames: Length
    labelled: bool
    source_digest: str
    sha256: dict[str, Sha256]

    @property
    def layouts(self) -> tuple[Layout, ...]:
        return timeline_layouts(self.n_frames, self.labelled)


def feature_layouts(n_frames: int, dim: int) -> tuple[Layout, Layout]:
    """values (time, feature) float16 and valid (time,) bool."""
    return (
        Layout("values", (n_frames, dim), "float16", ("time", "feature")),
        Layout("valid", (n_frames,), "bool", ("time",)),
    )


def timeline_layouts(n_frames: int, labelled: bool) -> tuple[Layout, ...]:
    """time_s (time,) float64, crop_present (time,) bool and, if any, labels (time, 2) float32."""
    unlabelled = (
        Layout("time_s", (n_frames,), "float64", ("time",)),
        Layout("crop_present", (n_frames,), "bool", ("time",)),
    )
    labels = Layout("labels", (n_frames, 2), "float32", ("time", "target"))
    return (*unlabelled, labels) if labelled else unlabelled


M = TypeVar("M", bound=BaseModel)


def parse(kind: type[M], attributes: Mapping[str, Any], where: Path) -> M:
    """Attributes read from disk as a `kind`; CacheError naming the file and what is wrong."""
    version = attributes.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CacheError(
            f"written by a newer vaest: schema version {version}, known are 1 to {SCHEMA_VERSION}",
            where=where,
            fix="pip install --upgrade vaest",
        )
    try:
        return kind.model_validate(attributes)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise CacheError(
            f"not a valid {kind.__name__}: {key}: {first['msg']}", where=where
        ) from None
