"""Identity: canonical JSON and file contents to SHA-256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

WHOLE_FILE_BYTES = 32 * 2**20
SAMPLE_BLOCKS = 256
SAMPLE_BLOCK_BYTES = 64 * 2**10


def canonical_json(value: Any) -> bytes:
    """`value` as sorted, separator-free UTF-8 JSON; NaN and infinities are refused."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    ).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def array_digest(array: np.ndarray) -> str:
    """SHA-256 of dtype, shape and little-endian C-order bytes."""
    contiguous = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    header = f"{contiguous.dtype.str}{contiguous.shape}".encode()
    return hashlib.sha256(header + contiguous.tobytes()).hexdigest()


def file_digest(path: Path) -> str:
    """Identity of a file's content.

    Up to 32 MiB the whole content is hashed; above, the size and 256 evenly spaced blocks of
    64 KiB, so that a corpus of videos is identified at the speed of a seek, not of the disk.
    """
    size = path.stat().st_size
    state = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE_FILE_BYTES:
            while block := file.read(2**20):
                state.update(block)
        else:
            for offset in np.linspace(0, size - SAMPLE_BLOCK_BYTES, SAMPLE_BLOCKS, dtype=np.int64):
                file.seek(int(offset))
                state.update(file.read(SAMPLE_BLOCK_BYTES))
    return state.hexdigest()


def folder_digest(folder: Path, pattern: str) -> str:
    """Identity of a folder of many small files: sorted names and sizes, not their contents."""
    listing = sorted((p.name, p.stat().st_size) for p in folder.glob(pattern))
    return digest(listing)
