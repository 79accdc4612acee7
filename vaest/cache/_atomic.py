"""Folders built aside and moved into place whole; files replaced in one step.

A store `x.zarr` is written through its sibling `.x.zarr.partial`, on the same file system and
invisible to Zarr's tools. Every writer works in a folder of its own there and holds a lock on it
for as long as it lives, so that what the dead leave behind can be told from what is in progress,
on any host. All moves into or out of the store happen under the area's own lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from vaest.errors import CacheError

_LOCK = "lock"


class StagingArea:
    """Where the trials of one store are prepared."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._path = store.parent / f".{store.name}.partial"

    def open(self, root_file: str, content: bytes) -> None:
        """Create the store, with its first file, if it is new; remove what dead writers left."""
        self._path.mkdir(parents=True, exist_ok=True)
        with locked(self._path / _LOCK):
            for leftover in self._path.glob("writer-*"):
                _remove_if_dead(leftover)
            if not self.store.is_dir():
                self._create_store(root_file, content)

    def begin(self) -> StagedFolder:
        """A new folder to fill, owned by the caller until it is discarded."""
        with locked(self._path / _LOCK):
            return self._new_folder()

    def publish(self, staged: StagedFolder, name: str, is_current: Callable[[], bool]) -> None:
        """Make everything durable, then move it into the store as `name`.

        Where `is_current` says that another writer has been first, theirs is kept. Anything else
        of that name is moved aside before: a kill between the moves leaves nothing, never a mix.
        """
        _sync_tree(staged.path)
        destination = self.store / name
        with locked(self._path / _LOCK):
            if is_current():
                return
            if destination.exists():
                destination.rename(staged.replaced)
            staged.path.rename(destination)
            _sync(self.store)

    def _create_store(self, root_file: str, content: bytes) -> None:
        staged = self._new_folder()
        try:
            write_file(staged.path / root_file, content)
            _sync_tree(staged.path)
            staged.path.rename(self.store)
            _sync(self.store.parent)
        finally:
            staged.discard()

    def _new_folder(self) -> StagedFolder:
        return StagedFolder(Path(tempfile.mkdtemp(prefix="writer-", dir=self._path)))


class StagedFolder:
    """A folder under construction at `path`. Discard it in any case, also once published."""

    def __init__(self, work: Path) -> None:
        self.path = work / "new"
        self.replaced = work / "replaced"
        self._work = work
        self.path.mkdir()
        self._lock = _lock(work / _LOCK, fcntl.LOCK_EX)

    def discard(self) -> None:
        """Remove the working folder and whatever is still in it, then give up its lock."""
        shutil.rmtree(self._work, ignore_errors=True)
        os.close(self._lock)


def write_file(path: Path, content: bytes) -> None:
    """A new file in a folder under construction; its parents are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def replace_file(path: Path, content: bytes) -> None:
    """`path` has either its old content or `content`, whatever happens. Callers hold a lock."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock of `path`. The kernel releases it when the holder dies."""
    handle = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(what: str, where: Path) -> Iterator[None]:
    """What the file system refuses (full, read-only, no permission) becomes a CacheError."""
    try:
        yield
    except OSError as error:
        folder = shlex.quote(str(where.parent))
        raise CacheError(
            f"cannot write {what}: {error.strerror or error}",
            where=error.filename if isinstance(error.filename, str) else where,
            fix=f"ls -ld {folder} && df -h {folder}",
        ) from error


def _remove_if_dead(work: Path) -> None:
    try:
        handle = _lock(work / _LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # its writer lives, or it is not ours to touch
        return
    shutil.rmtree(work, ignore_errors=True)
    os.close(handle)


def _lock(path: Path, operation: int) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, operation)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _sync_tree(folder: Path) -> None:
    """Files first, then the folders that name them, innermost first."""
    for parent, _, files in os.walk(folder, topdown=False):
        for file in files:
            _sync(Path(parent, file))
        _sync(Path(parent))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
