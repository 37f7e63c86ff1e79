"""What TorchInductor's Metal backend writes for PyTorch's operators."""

from wild.generators.inductor import PROJECT as PROJECT
