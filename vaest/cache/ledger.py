"""What became of every trial, component by component: one small JSON file per trial.

The stores alone decide what is done. The ledger says why something is not.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vaest.cache._atomic import locked, replace_file, writing
from vaest.cache._names import checked_name
from vaest.digest import canonical_json
from vaest.errors import CacheError, VaestError

_LOCK = ".lock"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Failure(_Entry):
    """A VaestError as it was reported; `kind` is its class."""

    kind: str
    what: str
    where: str | None
    nearest: str | None
    fix: str | None


class LedgerEntry(_Entry):
    """The outcome of one component (`visual/onet`) for one trial. Only a failure has `failure`."""

    trial: str
    component: str
    status: Literal["complete", "failed"]
    valid_frames: int | None = None
    n_frames: int | None = None
    failure: Failure | None = None


class _TrialLedger(_Entry):
    entries: tuple[LedgerEntry, ...] = ()


class Ledger:
    """The ledger in `folder`. Several processes may write; the last word on a component stays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def complete(self, trial: str, component: str, *, valid_frames: int, n_frames: int) -> None:
        """Note a success; an earlier failure of the component is forgotten."""
        self._note(
            LedgerEntry(
                trial=checked_name(trial),
                component=component,
                status="complete",
                valid_frames=valid_frames,
                n_frames=n_frames,
            )
        )

    def failed(self, trial: str, component: str, error: VaestError) -> None:
        """Note a failure and its reason."""
        failure = Failure(
            kind=type(error).__name__,
            what=error.what,
            where=error.where,
            nearest=error.nearest,
            fix=error.fix,
        )
        self._note(
            LedgerEntry(
                trial=checked_name(trial), component=component, status="failed", failure=failure
            )
        )

    def read(self, trial: str) -> dict[str, LedgerEntry]:
        """The trial's entries by component, sorted; empty if nothing is known of it."""
        path = self._file(trial)
        try:
            entries = _TrialLedger.model_validate_json(path.read_bytes()).entries
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            raise CacheError(
                "not a valid ledger file", where=path, fix=f"rm {shlex.quote(str(path))}"
            ) from error
        return {entry.component: entry for entry in entries}

    def failures(self) -> list[LedgerEntry]:
        """Every component that failed when it was last tried, sorted by trial and component."""
        trials = sorted(path.stem for path in self.folder.glob("[!.]*.json"))
        entries = [entry for trial in trials for entry in self.read(trial).values()]
        return [entry for entry in entries if entry.status == "failed"]

    def _note(self, entry: LedgerEntry) -> None:
        path = self._file(entry.trial)
        with writing(f"the ledger of trial {entry.trial!r}", path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / _LOCK):
                known = self.read(entry.trial) | {entry.component: entry}
                ledger = _TrialLedger(entries=tuple(known[name] for name in sorted(known)))
                replace_file(path, canonical_json(ledger.model_dump(mode="json")) + b"\n")

    def _file(self, trial: str) -> Path:
        return self.folder / f"{checked_name(trial)}.json"
