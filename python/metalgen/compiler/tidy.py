"""LLVM passes that fold what the emitter's textual replacements left behind."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm


@functools.cache
def _machine() -> llvm.TargetMachine:
    """Any machine will do: the passes only ask it for costs."""
    llvm.initialize_native_target()
    return llvm.Target.from_default_triple().create_target_machine()


def tidy(module: llvm.ModuleRef) -> None:
    """Inline what is left to inline, fold copies, drop what nothing uses."""
    builder = llvm.create_pass_builder(_machine(), llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    passes.run(module, builder)
