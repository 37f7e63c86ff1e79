"""Whole models, unchanged, through verified Metal kernels: a backend of torch.compile."""

from metalgen.optimize.backend import Backend, backend
from metalgen.optimize.model import explain, optimize_for_metal
from metalgen.optimize.report import GraphReport, RegionReport, Report

__all__ = [
    "Backend",
    "GraphReport",
    "RegionReport",
    "Report",
    "backend",
    "explain",
    "optimize_for_metal",
]
