"""Per-frame features on disk: written once, whole or not at all; read at memory speed."""

from __future__ import annotations

from vaest.cache.ledger import Ledger, LedgerEntry
from vaest.cache.schema import FeatureSpec, TimelineRecord, TrialRecord
from vaest.cache.store import FeatureCache, FeatureStore
from vaest.cache.timelines import TimelineStore
from vaest.cache.writer import TrialWriter

__all__ = [
    "FeatureCache",
    "FeatureSpec",
    "FeatureStore",
    "Ledger",
    "LedgerEntry",
    "TimelineRecord",
    "TimelineStore",
    "TrialRecord",
    "TrialWriter",
]
