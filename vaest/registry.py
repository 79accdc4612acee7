"""Names to classes. A component is one file whose name is the registry name."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable
from typing import ClassVar, Generic, Protocol, TypeVar

from vaest.errors import ConfigError, nearest_choice


class Named(Protocol):
    name: ClassVar[str]


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """The components of one kind: the modules of `package`, plus installed entry points.

    Listing names imports nothing; `get` imports only the module asked for. Other distributions
    add components with an entry point in the group `vaest.<kind>`.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator. A second class under a taken name is an error."""
        name = cls.name
        taken = self._classes.get(name)
        if taken is not None and taken.__module__ != cls.__module__:
            raise ConfigError(
                f"two {self.kind}s are named {name!r}",
                where=f"{taken.__module__}.{taken.__qualname__} and "
                f"{cls.__module__}.{cls.__qualname__}",
            )
        self._classes[name] = cls
        return cls

    def names(self) -> list[str]:
        """Every name that `get` accepts, sorted."""
        package = importlib.import_module(self.package)
        own = {m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_"}
        return sorted(own | set(self._entry_points()) | set(self._classes))

    def get(self, name: str) -> type[T]:
        """The class registered under `name`; ConfigError with the nearest name if there is none."""
        if name not in self._classes:
            if name not in self.names():
                raise ConfigError(
                    f"unknown {self.kind} {name!r}",
                    nearest=nearest_choice(name, self.names()),
                    fix=f"vaest {self.kind}s",
                )
            entry_points = self._entry_points()
            if name in entry_points:
                self.register(entry_points[name]())
            else:
                importlib.import_module(f"{self.package}.{name}")
        return self._classes[name]

    def _entry_points(self) -> dict[str, Callable[[], type[T]]]:
        group = f"vaest.{self.kind}"
        return {e.name: e.load for e in importlib.metadata.entry_points(group=group)}
