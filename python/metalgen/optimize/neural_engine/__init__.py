"""Regions as Core ML programs for the Neural Engine: converted, checked, raced like any other."""

from metalgen.optimize.neural_engine.source import neural_engine

__all__ = ["neural_engine"]
