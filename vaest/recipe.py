"""A recipe: which features, which fusion model, how it is trained, which folds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from vaest.config import Config, parse_config
from vaest.errors import ConfigError, nearest_choice
from vaest.resources import resource_folder
from vaest.types import MODALITIES, Modality


class CorpusSection(Config):
    """Which corpus a recipe was written for."""

    name: str


class TrainSection(Config):
    """How a network is trained. The defaults are SAGE's, completed by TAGF's (same authors)."""

    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    batch_size: int = Field(12, ge=1)
    epochs: int = Field(100, ge=1)
    schedule: Literal["constant", "plateau", "cosine"] = "plateau"
    warmup_epochs: int = Field(5, ge=0)
    plateau_patience: int = Field(5, ge=0)
    plateau_factor: float = Field(0.1, gt=0, lt=1)
    early_stop_patience: int = Field(20, ge=0, description="epochs; 0 never stops early")
    keep: Literal["best", "last"] = Field(
        "best", description="which epoch's weights; 'best' looks at the validation fold"
    )
    loss: dict[Literal["ccc", "mse"], float] = Field(default={"ccc": 1.0})
    ccc_over: Literal["clip", "batch"] = "batch"
    gradient_clip: float = Field(1.0, ge=0, description="norm; 0 does not clip")
    clip_frames: int = Field(300, ge=2)
    clip_stride: int = Field(200, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    @model_validator(mode="after")
    def _clips_leave_no_gap(self) -> Self:
        if self.clip_stride > self.clip_frames:
            raise ValueError("clip_stride larger than clip_frames would skip frames")
        return self


class CvSection(Config):
    """Cross-validation. `scheme` names a function of `folds.py`."""

    scheme: Literal["abaw", "group"] = "abaw"
    folds: int = Field(6, ge=2)


class Recipe(Config):
    """A whole experiment. Component options stay plain; the component's own Config checks them."""

    corpus: CorpusSection
    features: dict[Modality, dict[str, Any]] = Field(min_length=1)
    fusion: dict[str, Any]
    train: TrainSection = TrainSection()
    cv: CvSection = CvSection()

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """In the order visual, audio, text."""
        return tuple(m for m in MODALITIES if m in self.features)

    def backbone(self, modality: Modality) -> tuple[str, dict[str, Any]]:
        """Name and options of one modality's backbone."""
        options = dict(self.features[modality])
        return str(options.pop("backbone")), options

    @property
    def fusion_name(self) -> str:
        return str(self.fusion["name"])

    @property
    def fusion_options(self) -> dict[str, Any]:
        return {k: v for k, v in self.fusion.items() if k != "name"}

    def plain(self) -> dict[str, Any]:
        """As TOML can hold it: `load_recipe` of this gives the same recipe back."""
        return self.model_dump(mode="json", exclude_none=True)

    def with_fusion(self, name: str, options: Mapping[str, Any]) -> Recipe:
        return self.model_copy(update={"fusion": {"name": name, **options}})

    def with_modalities(self, modalities: Sequence[str]) -> Recipe:
        """The same experiment on some of its modalities."""
        for modality in modalities:
            if modality not in self.features:
                raise ConfigError(
                    f"the recipe has no {modality!r} features",
                    nearest=nearest_choice(modality, self.features),
                )
        return self.model_copy(
            update={"features": {m: self.features[m] for m in self.modalities if m in modalities}}
        )


def recipe_names() -> list[str]:
    """The recipes that travel with the package."""
    return sorted(p.parent.name for p in resource_folder("pipelines").glob("*/recipe.toml"))


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name (a folder of `pipelines/`) or path, with `section.key=value` overrides.

    Values of overrides are TOML; what is not TOML is a string. ConfigError names the file, the
    key and the nearest valid one.
    """
    path = _find(name)
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=path) from None
    for override in overrides:
        _set(content, override)
    recipe = _parse(content, str(path))
    for section, key, table in [
        ("fusion", "name", recipe.fusion),
        *((f"features.{m}", "backbone", recipe.features[m]) for m in recipe.modalities),
    ]:
        if key not in table:
            raise ConfigError(f"[{section}] has no {key!r}", where=path)
    return recipe


def _parse(content: dict[str, Any], where: str) -> Recipe:
    for section in ("corpus", "train", "cv"):
        kind = Recipe.model_fields[section].annotation
        if isinstance(content.get(section), dict) and isinstance(kind, type):
            parse_config(kind, content[section], f"{where} [{section}]")
    return parse_config(Recipe, content, where)


def _find(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        path = path / "recipe.toml"
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError("no such recipe file", where=path)
        return path
    known = resource_folder("pipelines") / name / "recipe.toml"
    if not known.is_file():
        raise ConfigError(
            f"unknown recipe {name!r}",
            nearest=nearest_choice(name, recipe_names()),
            fix="vaest fit --recipe demo",
        )
    return known


def _set(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or len(path) < 2:
        raise ConfigError(
            f"override {override!r} is not section.key=value", nearest="--set train.lr=3e-4"
        )
    table = content
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"override {override!r}: {part!r} is not a section")
    try:
        table[path[-1]] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[path[-1]] = text.strip()
