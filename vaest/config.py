"""The base of every component's options: frozen, strict, and kind about unknown keys."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vaest.errors import ConfigError, nearest_choice


class Config(BaseModel):
    """Options of one component. Unknown keys are errors; values are JSON-serialisable."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


C = TypeVar("C", bound=BaseModel)


def parse_config(kind: type[C], values: dict[str, Any], where: str) -> C:
    """`values` as a `kind`; ConfigError naming `where.key` and the nearest valid key or value."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"unknown key {key!r}",
                where=where,
                nearest=nearest_choice(key, kind.model_fields),
            ) from None
        raise ConfigError(f"{key} = {first['input']!r}: {first['msg']}", where=where) from None
