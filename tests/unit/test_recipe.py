"""Recipes: parsing, overrides, errors that name the nearest valid key."""

from pathlib import Path

import pytest
import tomli_w

from vaest.errors import ConfigError
from vaest.recipe import load_recipe, recipe_names


def test_every_shipped_recipe_loads() -> None:
    assert {"demo", "offline"} <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).fusion_name


def test_overrides_are_toml_or_strings() -> None:
    recipe = load_recipe("demo", ["train.lr=5e-4", "fusion.variant=paper", "train.loss.mse=0.5"])
    assert recipe.train.lr == 5e-4
    assert recipe.fusion["variant"] == "paper"
    assert recipe.train.loss == {"mse": 0.5}


def test_plain_form_round_trips(tmp_path: Path) -> None:
    recipe = load_recipe("demo", ["train.lr=5e-4"])
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(recipe.plain()))
    assert load_recipe(str(tmp_path)) == recipe


def test_modalities_come_in_one_order() -> None:
    recipe = load_recipe("demo").with_modalities(["text", "visual"])
    assert recipe.modalities == ("visual", "text")


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("train.learning=1", "schedule"),
        ("train.epoch=1", "epochs"),
        ("cv.fold=3", "folds"),
        ("fusoin.name=tcn", "fusion"),
    ],
)
def test_unknown_key_names_the_nearest(override: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("demo", [override])
    if override != "train.learning=1":
        assert caught.value.nearest == nearest
    assert "recipe.toml" in str(caught.value)


@pytest.mark.parametrize(
    "override", ["train.lr=-1", "train.epochs=many", "cv.scheme=random", "corpus.name=3"]
)
def test_bad_value_names_key_and_value(override: str) -> None:
    key, value = override.split("=")
    with pytest.raises(ConfigError) as caught:
        load_recipe("demo", [override])
    assert key.split(".")[1] in str(caught.value)
    assert value in str(caught.value)


def test_override_without_section() -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_recipe("demo", ["lr=1"])


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("dmeo")
    assert caught.value.nearest == "demo"


def test_missing_file_and_broken_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such recipe"):
        load_recipe(str(tmp_path / "absent.toml"))
    (tmp_path / "broken.toml").write_text("[train\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipe(str(tmp_path / "broken.toml"))


def test_recipe_without_backbone(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[corpus]\nname="demo"\n[features.audio]\n[fusion]\nname="sage"\n')
    with pytest.raises(ConfigError, match="backbone"):
        load_recipe(str(path))
