"""What went wrong, where, the nearest valid choice, and the command that fixes it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class VaestError(Exception):
    """Base of every error a user can cause or cure.

    `what` is one sentence; `where` the file, recipe key or trial; `nearest` the closest valid
    choice; `fix` a command to type.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | Path | None = None,
        nearest: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.nearest = nearest
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.nearest:
            lines.append(f"  did you mean: {self.nearest}")
        if self.fix:
            lines.append(f"  try: {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process boundaries; keyword-only fields would be lost otherwise.
        return _rebuild, (type(self), self.what, self.where, self.nearest, self.fix)


class InputError(VaestError):
    """A media, label or transcript file that cannot be used as it is."""


class ConfigError(VaestError):
    """An unknown or invalid name, option or recipe key."""


class CacheError(VaestError):
    """A feature store that is missing, incomplete, foreign or damaged."""


class WeightsError(VaestError):
    """Model weights that are absent or not the ones expected."""


class MissingExtraError(VaestError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed",
            fix=f"pip install 'vaest[{extra}]'",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (VaestError, self.what, self.where, self.nearest, self.fix)


def nearest_choice(name: str, choices: Iterable[str]) -> str | None:
    """The valid choice closest to `name`; all of them if few and none is close."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return close[0]
    return ", ".join(known) if 0 < len(known) <= 12 else None


def _rebuild(
    kind: type[VaestError], what: str, where: str | None, nearest: str | None, fix: str | None
) -> VaestError:
    return kind(what, where=where, nearest=nearest, fix=fix)
