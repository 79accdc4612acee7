"""`python -m vaest.cache.export_schemas FOLDER` writes the JSON Schemas of the cache's records."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from vaest.cache.schema import SCHEMA_VERSION, FeatureSpec, TimelineRecord, TrialRecord

_MODELS: dict[str, type[BaseModel]] = {
    "feature_spec": FeatureSpec,
    "timeline_record": TimelineRecord,
    "trial_record": TrialRecord,
}


def export_schemas() -> dict[str, str]:
    """The JSON Schema of every record, by file name."""
    return {
        f"{name}.v{SCHEMA_VERSION}.json": json.dumps(model.model_json_schema(), indent=2) + "\n"
        for name, model in _MODELS.items()
    }


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in export_schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
