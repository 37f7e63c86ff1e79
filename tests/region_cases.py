"""Regions as the optimiser meets them: captured from a model, with what they are called with."""

from dataclasses import dataclass

import torch

import metalgen
from metalgen.errors import UnsupportedError
from metalgen.optimize.backend import Backend
from metalgen.optimize.contender import Offer, RegionGraph
from metalgen.optimize.means import Means
from metalgen.optimize.region_check import Expected, wrong_result


@dataclass(frozen=True)
class Case:
    """A region and the arguments of its first call."""

    region: RegionGraph
    arguments: tuple[object, ...]

    def wrong(self, contender):
        """What is wrong with a contender's results here, None where nothing is."""
        expected = Expected.of(self.region, self.arguments)
        return wrong_result(contender, self.arguments, expected)


class _Witness:
    """A contender that writes down what a region is called with, and then refuses."""

    def __init__(self, region, cases):
        self.name = self.content = "witness"
        self.kernels, self.stages = 0, {}
        self.region, self.cases = region, cases

    def run_in(self, allocate, arguments):
        self.cases.append(Case(self.region, tuple(arguments)))
        raise UnsupportedError("not supported: a witness")

    run = run_in


def cases_of(model, *inputs, dynamic=False):
    """The regions of a model in the order in which they are called."""
    cases = []

    def witness(region):
        yield Offer("witness", lambda: _Witness(region, cases))

    torch._dynamo.reset()
    compiled = torch.compile(
        model, backend=Backend(Means.of("metal"), sources=(witness,)), dynamic=dynamic
    )
    with torch.no_grad():
        compiled(*inputs)
    return cases


def report_after(model, *inputs, policy="metal"):
    """The report of one call, and the optimised model."""
    torch._dynamo.reset()
    optimized = metalgen.optimize_for_metal(model.eval(), policy=policy)
    with torch.no_grad():
        optimized(*inputs)
    return optimized.metal_report, optimized
