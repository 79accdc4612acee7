"""Names that are safe as one path component."""

from __future__ import annotations

from vaest.errors import InputError
from vaest.types import Trial

MAX_NAME_BYTES = 240
_RESERVED = "zarr.json"


def checked_name(name: str) -> str:
    """`name` itself; InputError if it has separators, hides, is too long or is Zarr's own."""
    Trial(id=name, video_id=name)
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise InputError(f"the name {name!r} is not valid Unicode") from None
    if n_bytes > MAX_NAME_BYTES:
        raise InputError(f"the name {name!r} has {n_bytes} bytes, more than {MAX_NAME_BYTES}")
    if name == _RESERVED:
        raise InputError(f"the name {name!r} is reserved by Zarr", nearest="zarr")
    return name
