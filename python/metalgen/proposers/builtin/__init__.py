"""The proposer that needs no language model: templates over the module's exported graph."""

from metalgen.proposers.builtin.proposer import BuiltinProposer

__all__ = ["BuiltinProposer"]
