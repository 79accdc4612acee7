"""Frozen models, one file each. `backbones.get(name)` imports only the one asked for."""

from vaest.backbones._base import Backbone
from vaest.registry import Registry

backbones: Registry[Backbone] = Registry("backbone", __name__)

__all__ = ["Backbone", "backbones"]
