"""Backends broken on purpose: every one must be caught by a test that the right one passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import test_bridge_errors as errors
import test_bridge_launch as launch
import test_bridge_lifetime as lifetime
import test_bridge_plans as plans
from samples_of import every

from apple import build, soft_mps

Edit = tuple[str, str]


@dataclass(frozen=True)
class Broken:
    """What is replaced by what, and the test that must notice."""

    edits: tuple[Edit, ...]
    test: Callable[..., None]


def broken(*edits_and_test) -> Broken:
    *edits, test = edits_and_test
    return Broken(tuple(edits), test)


BROKEN = {
    "storage offset forgotten": broken(
        ("offset:memory->offset atIndex", "offset:0 atIndex"),
        launch.test_slices_are_bound_at_their_byte_offset,
    ),
    "torch's encoder ended": broken(
        ("      encoded = true;", "      encoded = true; [encoder endEncoding];"),
        launch.test_a_kernel_computes_on_mps_tensors,
    ),
    "encoder used off the queue": broken(
        ("dispatch_sync(torch.queue(), ^{", "([&](auto block) { block(); })(^{"),
        launch.test_a_kernel_computes_on_mps_tensors,
    ),
    "encoder carried off the queue": broken(
        (
            "__block bool encoded = false;",
            "__block bool encoded = false; __block id<MTLComputeCommandEncoder> kept = nil;",
        ),
        ("encoded = true;", "encoded = true; kept = encoder;"),
        ("if (!encoded) throw", "await(kept); [kept endEncoding]; if (!encoded) throw"),
        launch.test_a_kernel_computes_on_mps_tensors,
    ),
    "nested dispatch_sync": broken(
        ("encoded = true;", "torch.synchronize(); encoded = true;"),
        launch.test_a_kernel_computes_on_mps_tensors,
    ),
    "exception through a block": broken(
        (
            "if (encoder == nil) return;",
            'throw LaunchError("through a block");',
        ),
        launch.test_a_kernel_computes_on_mps_tensors,
    ),
    "tensor's buffer released too often": broken(
        ("(__bridge id<MTLBuffer>)reint", "(__bridge_transfer id<MTLBuffer>)reint"),
        launch.test_a_kernel_computes_on_mps_tensors,
    ),
    "tensor's buffer kept forever": broken(
        (
            "return (__bridge id<MTLBuffer>)reinterpret_cast<void*>(handle);",
            "id<MTLBuffer> b = (__bridge id<MTLBuffer>)reinterpret_cast<void*>(handle);"
            " (void)(__bridge_retained void*)b; return b;",
        ),
        lifetime.test_whatever_is_made_goes_with_the_library,
    ),
    "pipeline not set": broken(
        ("[encoder setComputePipelineState:state_];", ""),
        launch.test_a_kernel_computes_on_mps_tensors,
    ),
    "bytes beyond 4096 set by value": broken(
        ("bytes.size() <= kMaxInlineBytes", "bytes.size() <= 1 << 20"),
        launch.test_structs_beyond_what_metal_takes_by_value_go_through_a_buffer,
    ),
    "bytes shared rather than copied": broken(
        (
            "[device newBufferWithBytes:bytes.data()\n"
            "                                           length:bytes.size()\n"
            "                                          options:MTLResourceStorageModeShared]",
            "[device newBufferWithBytesNoCopy:const_cast<std::byte*>(bytes.data())\n"
            "    length:bytes.size() options:MTLResourceStorageModeShared deallocator:nil]",
        ),
        launch.test_structs_beyond_what_metal_takes_by_value_go_through_a_buffer,
    ),
    "no room for empty tensors": broken(
        (
            "memory->handle ? buffer_of(memory->handle) : nothing(device)",
            "buffer_of(memory->handle)",
        ),
        launch.test_a_tensor_without_elements_may_be_bound,
    ),
    "threadgroup memory forgotten": broken(
        (
            "[encoder setThreadgroupMemoryLength:memory.bytes atIndex:memory.index];",
            "(void)memory;",
        ),
        launch.test_threadgroup_memory_has_the_size_that_was_asked_for,
    ),
    "edges not cut": broken(
        ("if (is_whole(geometry))", "if (true)"),
        launch.test_threads_cut_the_threadgroups_at_the_edge,
    ),
    "group size and grid exchanged": broken(
        (
            "size_of(geometry.grid)\n        threadsPerThreadgroup:size_of(geometry.group_size)",
            "size_of(geometry.group_size)\n        threadsPerThreadgroup:size_of(geometry.grid)",
        ),
        launch.test_threads_cut_the_threadgroups_at_the_edge,
    ),
    "threads taken for threadgroups": broken(
        (
            "dispatchThreadgroups:size_of(geometry.groups)",
            "dispatchThreadgroups:size_of(geometry.grid)",
        ),
        launch.test_threadgroups_are_whole,
    ),
    "empty grids dispatched": broken(
        ("if (dispatch.geometry.empty()) return;", ""),
        ("if (launch.dispatch.geometry.empty()) continue;", ""),
        launch.test_a_grid_without_threads_runs_nothing,
    ),
    "constants of the wrong size": broken(
        (
            "set_components<float>(values, constant, MTLDataTypeFloat)",
            "set_components<double>(values, constant, MTLDataTypeFloat)",
        ),
        launch.test_function_constants_specialise_a_kernel,
    ),
    "constants at the wrong index": broken(
        ("atIndex:constant.index];", "atIndex:constant.index + 1];"),
        launch.test_function_constants_specialise_a_kernel,
    ),
    "pipelines cached without their constants": broken(
        ("key.second.emplace_back(constant.index, constant.components);", "(void)constant;"),
        lifetime.test_equal_constants_give_one_pipeline_and_others_another,
    ),
    "pipelines made without the lock": broken(
        (
            "    const std::lock_guard lock(mutex_);\n"
            "    std::shared_ptr<Pipeline>& pipeline = pipelines_[key];\n"
            "    if (!pipeline) pipeline = make_pipeline(kernel, constants);\n"
            "    return pipeline;",
            "    return make_pipeline(kernel, constants);",
        ),
        lifetime.test_threads_that_want_one_pipeline_share_it,
    ),
    "no autorelease pool": broken(
        (
            "    @autoreleasepool {\n      if (follow_all)",
            "    {\n      if (follow_all)",
        ),
        lifetime.test_nothing_is_autoreleased_where_no_pool_would_drain_it,
    ),
    "device never waits": broken(
        (
            "void synchronize() override { finish(); }",
            "void synchronize() override {}",
        ),
        launch.test_the_gpu_works_later_and_reading_a_tensor_waits_for_it,
    ),
    "no barrier between steps": broken(
        ("if (first || launch.waits) await(encoder);", "if (first) await(encoder);"),
        plans.test_steps_wait_for_one_another_where_torchs_encoder_lets_them_overlap,
    ),
    "no barrier before the first step": broken(
        ("if (first || launch.waits) await(encoder);", "if (launch.waits) await(encoder);"),
        plans.test_a_plan_waits_for_what_was_encoded_before_it,
    ),
    "a step of its own encoder": broken(
        (
            "await(encoder);\n        first",
            "encoder = torch.command_encoder(); torch.command_buffer();"
            " encoder = torch.command_encoder();\n        first",
        ),
        plans.test_a_whole_plan_is_in_one_encoder_of_torchs,
    ),
    "the GPU's report not awaited": broken(
        ("completed_.wait_for(lock, kPatience, [&] { return pending_ == 0; })", "true"),
        (
            "    stream_->torch.synchronize();\n",
            "    const Interval at_once = stream_->report->wait();\n"
            "    stream_->torch.synchronize();\n    return at_once;\n",
        ),
        plans.test_a_fault_of_the_gpu_is_told_in_metals_words,
    ),
    "the GPU's report told forever": broken(
        ("std::exchange(findings_, {})", "findings_"),
        plans.test_a_fault_of_the_gpu_is_told_in_metals_words,
    ),
    "page alignment unchecked": broken(
        (
            "if (bytes.empty() || address % kPageBytes != 0 || bytes.size() % kPageBytes != 0)",
            "if (bytes.empty())",
        ),
        errors.test_memory_that_is_not_whole_pages_cannot_be_shared,
    ),
}


@pytest.mark.parametrize("name", every(3, BROKEN))
def test_a_broken_backend_is_caught(name):
    soft_mps.need_linux()
    outcome = soft_mps.outcome_with(build.broken(BROKEN[name].edits), BROKEN[name].test)
    assert outcome.status != 0, "it passed"
    assert "ImportError" not in outcome.output, outcome.output


@pytest.mark.skipif(build.SANITIZER != "thread", reason="METALGEN_SANITIZE is not 'thread'")
def test_the_thread_sanitizer_notices_what_threads_share_without_a_lock():
    shared = "static int dispatches = 0; ++dispatches; __block bool encoded = false;"
    count = ("__block bool encoded = false;", shared)
    test = lifetime.test_threads_dispatch_on_one_stream_without_losing_work
    outcome = soft_mps.outcome_with(build.broken([count]), test)
    assert outcome.status != 0
    assert "data race" in outcome.output
