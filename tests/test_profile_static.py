"""Figures from AIR alone: the counts where nothing depends on data, honest where something does."""

import pytest
from profiled import counted, plan, random, square, static, step

SAME = ("flops", "loads", "stores", "barriers", "lines", "least_lines", "matrix_products")
SQUARES = {"a": random(64, 64), "b": random(64, 64)}


def maps(stride):
    args = ["x", "y", {"uint": stride}]
    return plan({"y": [256]}, step("apart", args, [256], [64]))


CASES = {
    "a guarded map": (
        plan({"y": [1024]}, step("scale", ["x", "y", {"uint": 1000}], [1024], [256])),
        {"x": random(1024)},
    ),
    "a grid that is no multiple of its threadgroups": (
        plan({"y": [1000]}, step("scale", ["x", "y", {"uint": 1000}], [1000], [96])),
        {"x": random(1000)},
    ),
    "strided loads": (maps(8), {"x": random(8192)}),
    "a loop that halves": (
        plan({"y": [4]}, step("halve", ["x", "y"], [1024], [256])),
        {"x": random(1024)},
    ),
    "a naive product": (square("product", [32, 8]), SQUARES),
    "a tiled product": (square("tiled_product", [32, 16]), SQUARES),
    "SIMD-group matrices": (square("matrices", [32, 1], ("8 * 32", 8)), SQUARES),
}


@pytest.mark.parametrize("name", CASES)
def test_what_would_be_counted_follows_from_air(name):
    of, inputs = CASES[name]
    (told,), (found,) = static(of, inputs), counted(of, inputs)
    assert not told.unknowns
    for name in SAME:
        assert getattr(told, name) == pytest.approx(getattr(found, name)), name
    assert told.active_share == pytest.approx(found.active_share)
    assert told.instructions == pytest.approx(found.instructions)


def test_addresses_that_depend_on_data_are_said_to_be_guesses():
    looked_up = plan({"y": [256]}, step("gather", ["index", "table", "y"], [256], [64]))
    inputs = {"index": random(256).int(), "table": random(1024)}
    (told,) = static(looked_up, inputs)
    assert told.unknowns == ("addresses depend on data, taken as scattered",)
    load = next(a for a in told.accesses if a.buffer == "table")
    assert load.lines == 256  # one for each lane, at worst


def test_a_loop_that_depends_on_data_is_said_to_be_a_guess():
    inputs = {"x": random(64)}
    voting = plan({"count": [1], "y": [64]}, step("vote", ["x", "count", "y"], [64], [32]))
    (told,) = static(voting, inputs)
    assert any("a branch depends on data" in unknown for unknown in told.unknowns)
