"""Where trials come from: one file per on-disk layout."""

from vaest.corpora._base import Corpus
from vaest.registry import Registry

corpora: Registry[Corpus] = Registry("corpus", __name__)

__all__ = ["Corpus", "corpora"]
