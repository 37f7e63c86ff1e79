"""Strategies of metal/strategies.json as contenders: the library's kernels in a region's plan."""

from metalgen.optimize.strategies.source import strategies

__all__ = ["strategies"]
