"""Launch plans: what a candidate allocates and launches, as data that is checked before it runs."""

from metalgen.plan.expression import Expression, TensorType, parse_expression
from metalgen.plan.run import BoundPlan, CompiledPlan, compile_plan, kernels_of, run_plan
from metalgen.plan.schema import (
    Allocation,
    AtenStep,
    ConstantArgument,
    KernelStep,
    LaunchPlan,
    TensorArgument,
    parse_plan,
)

__all__ = [
    "Allocation",
    "AtenStep",
    "BoundPlan",
    "CompiledPlan",
    "ConstantArgument",
    "Expression",
    "KernelStep",
    "LaunchPlan",
    "TensorArgument",
    "TensorType",
    "compile_plan",
    "kernels_of",
    "parse_expression",
    "parse_plan",
    "run_plan",
]
