"""Problems: PyTorch modules in KernelBench's file format, loaded, named and described."""

from metalgen.problem.description import NumberSpec, Problem, TensorSpec, open_problem
from metalgen.problem.loaded import LoadedProblem, load_problem

__all__ = [
    "LoadedProblem",
    "NumberSpec",
    "Problem",
    "TensorSpec",
    "load_problem",
    "open_problem",
]
