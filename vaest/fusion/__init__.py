"""Fusion models, one file each. `fusions.get(name)` imports only the one asked for."""

from vaest.fusion._base import ClosedFormFusion, Fusion, FusionConfig, FusionNetwork
from vaest.registry import Registry

fusions: Registry[Fusion] = Registry("fusion", __name__)

__all__ = ["ClosedFormFusion", "Fusion", "FusionConfig", "FusionNetwork", "fusions"]
