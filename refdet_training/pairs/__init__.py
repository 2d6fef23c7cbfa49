"""Training pairs: template views and a search view, with their labels."""

from refdet_training.pairs.config import PairConfig, WindowPairs
from refdet_training.pairs.cutout_pairs import CutoutPairs
from refdet_training.pairs.dataset import PairDataset
from refdet_training.pairs.instance_pairs import InstancePairs
from refdet_training.pairs.pair import Pair, PairBatch, PairSource, collate
from refdet_training.pairs.sources import CUTOUTS, OBJECT_CUTOUTS, NamedSource, make_sources
from refdet_training.pairs.stored_pairs import StoredPairs, store_pairs

__all__ = [
    "CUTOUTS",
    "OBJECT_CUTOUTS",
    "CutoutPairs",
    "InstancePairs",
    "NamedSource",
    "Pair",
    "PairBatch",
    "PairConfig",
    "PairDataset",
    "PairSource",
    "StoredPairs",
    "WindowPairs",
    "collate",
    "make_sources",
    "store_pairs",
]
