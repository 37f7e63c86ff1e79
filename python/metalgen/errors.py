"""Every error that metalgen raises on purpose; the type says which stage failed.

MetalgenError
├── CompileError      MSL was refused; carries every diagnostic
├── ToolchainError    a tool that the stage needs is missing or broke
├── MetallibError     a file is not a metallib, or is damaged
├── UnsupportedError  valid input that metalgen cannot handle yet ("not supported: ...")
├── LaunchError       a dispatch was given wrong arguments or geometry
├── PlanError         a launch plan is malformed or does not fit its kernels
├── ProblemError      a problem file cannot be used
├── ProposalError     a proposer's reply holds no usable candidate
├── ProviderError     a model service refused or failed
├── RunError          a kept run cannot be written, read or continued
└── PackError         a kernel pack is missing or damaged
"""

from __future__ import annotations


class MetalgenError(Exception):
    """Base of all errors below; its text is one line, lower case, with cause and remedy."""


class CompileError(MetalgenError):
    """MSL that the compiler refused; the text holds every diagnostic as file:line:column."""


class ToolchainError(MetalgenError):
    """A compiler or tool is missing, too old, or failed for a reason of its own."""


class MetallibError(MetalgenError):
    """A file that is not a metallib, or a damaged one."""


class UnsupportedError(MetalgenError):
    """Valid input that metalgen cannot handle yet; the text starts with "not supported: "."""


class LaunchError(MetalgenError):
    """Wrong arguments, dtypes, devices or geometry for a dispatch."""


class PlanError(MetalgenError):
    """A launch plan that is malformed or does not fit its kernels or inputs."""


class ProblemError(MetalgenError):
    """A problem file that lacks `Model`, `get_inputs` or `get_init_inputs`, or that fails."""


class ProposalError(MetalgenError):
    """A proposer's reply from which no candidate could be read."""


class ProviderError(MetalgenError):
    """A model service that refused a request or kept failing."""


class RunError(MetalgenError):
    """A kept run that cannot be written, read or continued: full disk, locked, damaged, missing."""


class PackError(MetalgenError):
    """A kernel pack that is missing, damaged or made for another version of metalgen."""
