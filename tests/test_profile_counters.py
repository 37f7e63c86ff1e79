"""What instrumented kernels count, against what can be told by hand."""

import pytest
import torch
from profiled import counted, metallib, plan, random, square, step

from metalgen import load_metallib
from metalgen.profile.counting_library import CountingLibrary

N = 1000


def scaled():
    args = ["x", "y", {"uint": N}]
    return plan({"y": ["x.shape[0]"]}, step("scale", args, ["x.shape[0]"], [256]))


def test_bytes_lines_and_lanes_of_a_guarded_map_are_exact():
    (found,) = counted(scaled(), {"x": random(1024)})
    assert found.loads == {"device": 4 * N, "constant": 4 * 1024}
    assert found.stores == {"device": 4 * N}
    assert found.flops == 2 * N
    # 31 whole SIMD-groups and one of 8 lanes: a line each, for the load and for the store.
    assert (found.lines, found.least_lines) == (64, 64)
    assert 0.97 < found.active_share < 1
    assert found.barriers == found.atomics == found.matrix_products == 0


@pytest.mark.parametrize(("stride", "lines"), [(1, 1), (2, 2), (8, 8), (32, 32), (0, 1)])
def test_a_stride_touches_as_many_lines_as_it_spreads_over(stride, lines):
    args = ["x", "y", {"uint": stride}]
    apart = plan({"y": [256]}, step("apart", args, [256], [64]))
    (found,) = counted(apart, {"x": random(256 * 32)})
    load = next(a for a in found.accesses if a.kind == "load" and a.space == "device")
    assert load.buffer == "x"
    assert load.executions == 8  # SIMD-groups
    assert load.lines == 8 * lines
    assert load.least == 8
    assert load.distinct_bytes == (8 * 4 if stride == 0 else 256 * 4)


def halved():
    return plan({"y": ["x.shape[0] // 256"]}, step("halve", ["x", "y"], ["x.shape[0]"], [256]))


def test_barriers_and_threadgroup_memory_of_a_reduction_are_exact():
    groups = 4
    (found,) = counted(halved(), {"x": random(256 * groups)})
    assert found.barriers == groups * (1 + 8)
    halves = sum(2**i for i in range(8))  # 128 + 64 + ... + 1 additions
    assert found.flops == groups * halves
    assert found.loads["threadgroup"] == groups * 4 * (2 * halves + 1)
    assert found.stores["threadgroup"] == groups * 4 * (256 + halves)
    assert found.threadgroup_memory == 1024
    assert found.active_share < 1


def test_a_product_counts_every_multiplication():
    n = 32
    (found,) = counted(square("product", [32, 8]), {"a": random(n, n), "b": random(n, n)})
    assert found.flops == 2 * n**3
    assert found.loads["device"] == 2 * 4 * n**3
    assert found.instructions["fp32"] == n**3 / 32  # a multiply-add of each SIMD-group


def test_matrices_count_their_products_and_what_they_load_together():
    n = 32
    threads = (f"{n // 8} * 32", n // 8)
    (found,) = counted(square("matrices", [32, 1], threads), {"a": random(n, n), "b": random(n, n)})
    blocks = (n // 8) ** 3
    assert found.matrix_products == blocks
    assert found.flops == 2 * n**3
    assert found.loads["device"] == 2 * blocks * 256
    assert found.stores["device"] == (n // 8) ** 2 * 256
    # Eight rows of 32 bytes, a line of 128 apart: eight lines where two would do.
    load = next(a for a in found.accesses if a.kind == "load" and a.space == "device")
    assert (load.lines, load.least) == (8 * blocks, 2 * blocks)


def test_atomics_and_operations_between_lanes_are_counted():
    x = random(64)
    outputs = {"count": [1], "y": [64]}
    declared = plan(outputs, step("vote", ["x", "count", "y"], [64], [32]))
    whole = declared.model_copy(
        update={"outputs": {**declared.outputs, "count": _integers(declared)}}
    )
    (found,) = counted(whole, {"x": x})
    assert found.atomics == int((x > 0).sum())
    assert found.between_lanes == 2


def _integers(declared):
    return declared.outputs["count"].model_copy(update={"dtype": "int32", "fill": 0})


def test_each_dispatch_of_a_plan_counts_for_itself():
    twice = plan(
        {"y": [1024], "z": [1024]},
        step("scale", ["x", "y", {"uint": 1024}], [1024], [256]),
        step("scale", ["y", "z", {"uint": 32}], [1024], [256]),
    )
    first, second = counted(twice, {"x": random(1024)})
    assert (first.flops, second.flops) == (2048, 64)


def test_both_ways_of_running_a_kernel_count_alike():
    x, y = random(1024), torch.zeros(4)
    values = []
    for strands in ("simdgroup", "thread"):
        library = CountingLibrary(metallib(), strands=strands)
        library.halve(x, y, threads=1024, group_size=256)
        (counts,) = library.counting.kernels
        values.append(counts.values.tolist())
    assert values[0] == values[1]


def test_counting_changes_no_result_and_can_begin_again():
    x = random(1024)
    plain, counting = torch.zeros(4), torch.zeros(4)
    load_metallib(metallib()).halve(x, plain, threads=1024, group_size=256)
    library = CountingLibrary(metallib())
    library.halve(x, counting, threads=1024, group_size=256)
    assert torch.equal(plain, counting)
    library.counting.clear()
    assert not library.counting.kernels[0].values.any()
