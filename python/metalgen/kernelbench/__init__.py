"""KernelBench's problems: found in a clone or data set, recognised, chosen, made smaller."""

from metalgen.kernelbench.collection import Collection, Entry, read_collection
from metalgen.kernelbench.scaling import Budget
from metalgen.kernelbench.selection import SelectedProblem, Selection, Shapes, select_problems
from metalgen.kernelbench.versions import Version, recognise

__all__ = [
    "Budget",
    "Collection",
    "Entry",
    "SelectedProblem",
    "Selection",
    "Shapes",
    "Version",
    "read_collection",
    "recognise",
    "select_problems",
]
