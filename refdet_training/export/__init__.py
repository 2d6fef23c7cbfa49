"""Exports a trained network as a model bundle: graphs, parity, and TensorRT's operators."""

from refdet_training.export.bundle import export_bundle, publish, with_refinement, write_description
from refdet_training.export.operators import Finding, check_bundle, check_graph
from refdet_training.export.parity import parity

__all__ = [
    "Finding",
    "check_bundle",
    "check_graph",
    "export_bundle",
    "parity",
    "publish",
    "with_refinement",
    "write_description",
]
