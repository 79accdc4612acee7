"""The part of Zarr v3 the cache is made of: groups, and arrays of one uncompressed chunk.

The metadata is written here rather than through zarr-python so that its bytes depend neither on
that library's version nor on its event loop, which does not survive a fork in every release. A
test holds what is written here against what zarr-python writes for the same arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

METADATA = "zarr.json"


@dataclass(frozen=True)
class Layout:
    """One array of a trial's group, stored as raw little-endian C-order bytes in one file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    dimensions: tuple[str, ...]

    @property
    def chunk(self) -> str:
        """The chunk's path within the group, `values/c/0/0`."""
        return "/".join([self.name, "c", *("0" for _ in self.shape)])

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def n_bytes(self) -> int:
        return int(np.prod(self.shape)) * self.stored_dtype.itemsize

    @property
    def metadata(self) -> dict[str, Any]:
        """The content of `zarr.json`. Floats are filled with NaN: a lost chunk must not read 0."""
        boolean = self.dtype == "bool"
        codec = {"name": "bytes"}
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype,
            "dimension_names": list(self.dimensions),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.shape)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": False if boolean else "NaN",
            "codecs": [codec if boolean else {**codec, "configuration": {"endian": "little"}}],
            "storage_transformers": [],
            "attributes": {},
        }


def group_metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a group's `zarr.json`."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def encode(metadata: Mapping[str, Any]) -> bytes:
    """Metadata as the bytes of a `zarr.json`: the same for the same content."""
    text = json.dumps(metadata, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def read_metadata(folder: Path) -> dict[str, Any]:
    """A node's metadata. FileNotFoundError if there is none, ValueError if it is not Zarr v3."""
    metadata = json.loads((folder / METADATA).read_bytes())
    if not isinstance(metadata, dict) or metadata.get("zarr_format") != 3:
        raise ValueError("not a Zarr v3 node")
    return metadata


def read_attributes(folder: Path) -> dict[str, Any]:
    """A node's attributes; errors as in `read_metadata`."""
    attributes = read_metadata(folder).get("attributes")
    if not isinstance(attributes, dict):
        raise ValueError("no attributes")
    return attributes


def is_raw(group: Path, layout: Layout) -> bool:
    """Whether the array is stored as the cache stores it, and not compressed or rechunked."""
    return read_metadata(group / layout.name) == layout.metadata


def read_raw(group: Path, layout: Layout) -> np.ndarray:
    """The chunk, memory-mapped and read-only. ValueError if its length is not the array's."""
    chunk = group / layout.chunk
    if chunk.stat().st_size != layout.n_bytes:
        raise ValueError(f"{layout.chunk} has {chunk.stat().st_size} bytes, not {layout.n_bytes}")
    mapped = np.memmap(chunk, dtype=layout.stored_dtype, mode="r", shape=layout.shape)
    # A plain array over the map: slicing np.memmap's own class costs twice as much.
    return mapped.view(np.ndarray)


def read_any(group: Path, layout: Layout) -> np.ndarray:
    """The array through zarr-python, whole and in memory: compressed, sharded, rechunked."""
    import zarr

    array = zarr.open_array(str(group / layout.name), mode="r")
    if array.shape != layout.shape or array.dtype != np.dtype(layout.dtype):
        raise ValueError(f"{layout.name} is {array.dtype}{array.shape}, not as its record says")
    values = np.ascontiguousarray(array[...], dtype=layout.stored_dtype)
    values.setflags(write=False)
    return values
