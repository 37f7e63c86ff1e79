"""The roofline model: it grows with the work, shrinks with the chip, and ranks as it should.

Nothing here was measured on an Apple GPU; see docs/proven.md.
"""

import pytest
from profiled import counted, metallib, plan, random, sizes_of, square, step

from metalgen.chips import Work, all_chips, find_chip, predict
from metalgen.errors import PlanError, UnsupportedError
from metalgen.plan import TensorType
from metalgen.profile import estimate, rank


def scale(n):
    args = ["x", "y", {"uint": "x.numel()"}]
    return plan({"y": ["x.shape[0]"]}, step("scale", args, ["x.shape[0]"], [256])), {
        "x": TensorType((n,), "float32")
    }


def squares(n):
    return {name: TensorType((n, n), "float32") for name in "ab"}


def seconds(of, sizes, chip="M3 Max"):
    return estimate(metallib(), of, sizes, chip).seconds


def test_a_map_over_large_memory_takes_as_long_as_its_bytes():
    n = 1 << 26
    of, sizes = scale(n)
    found = estimate(metallib(), of, sizes, "M1")
    assert found.bound_by == "memory"
    assert found.bytes == pytest.approx(8 * n, rel=0.01)
    assert found.seconds == pytest.approx(8 * n / 68.2e9, rel=0.01)
    assert found.flops == 2 * n


def test_time_grows_with_the_work():
    times = [seconds(*scale(1 << k)) for k in (16, 20, 24)]
    assert times == sorted(times)
    products = [seconds(square("tiled_product", [32, 16]), squares(n)) for n in (64, 256, 1024)]
    assert products == sorted(products)


@pytest.mark.parametrize(("small", "large"), [("M1", "M1 Max"), ("M3 Max 30", "M3 Max 40")])
def test_a_larger_chip_is_faster_at_large_work(small, large):
    of, sizes = scale(1 << 26)
    assert seconds(of, sizes, large) < seconds(of, sizes, small)
    products = square("product", [32, 8])
    assert seconds(products, squares(1024), large) < seconds(products, squares(1024), small)


def test_tiles_beat_the_naive_product_and_no_product_beats_the_peak():
    chip = find_chip("M1")
    naive = estimate(metallib(), square("product", [32, 8]), squares(1024), chip)
    tiled = estimate(metallib(), square("tiled_product", [32, 16]), squares(1024), chip)
    assert tiled.seconds < naive.seconds
    for each in (naive, tiled):
        assert each.flops == 2 * 1024**3
        assert each.flops / each.seconds < chip.fp32_tflops * 1e12


def test_strided_access_is_slower_than_its_bytes():
    def apart(stride):
        args = ["x", "y", {"uint": stride}]
        of = plan({"y": [1 << 20]}, step("apart", args, [1 << 20], [256]))
        return seconds(of, {"x": TensorType(((1 << 20) * 32,), "float32")})

    assert apart(1) < apart(8) < apart(32)


def test_one_threadgroup_leaves_the_other_cores_idle():
    def reduced(groups):
        of = plan({"y": [groups]}, step("halve", ["x", "y"], [256 * groups], [256]))
        return seconds(of, {"x": TensorType((256 * groups,), "float32")})

    assert reduced(1) > 0.5 * reduced(40)  # forty cores


def test_ranking_puts_the_better_variant_first():
    variants = {
        "naive": (metallib(), square("product", [32, 8])),
        "tiled": (metallib(), square("tiled_product", [32, 16])),
    }
    for chip in ("M1", "M2 Pro", "M3 Max", "M4", "M5 Max"):
        (first, best), (second, other) = rank(variants, squares(1024), chip)
        assert (first, second) == ("tiled", "naive")
        assert best.seconds <= other.seconds
    with pytest.raises(PlanError, match="expected seconds or joules"):
        rank(variants, squares(64), "M1", by="watts")


def test_ranking_agrees_with_what_is_counted_where_memory_traffic_decides():
    """A stride that touches a new cache line for each element is predicted from no execution."""
    n = 1 << 14
    x = random(n * 32)

    def lines_and_seconds(stride):
        of = plan({"y": [n]}, step("apart", ["x", "y", {"uint": stride}], [n], [256]))
        (found,) = counted(of, {"x": x})
        return found.lines, seconds(of, sizes_of({"x": x}))

    (near, quick), (far, slow) = lines_and_seconds(1), lines_and_seconds(32)
    assert far > 16 * near
    assert slow > 2 * quick


def test_energy_is_known_only_where_a_source_knows_power():
    of, sizes = scale(1 << 24)
    by_operations = estimate(metallib(), of, sizes, "M4 Max")
    assert by_operations.joules == pytest.approx(1e-12 * (2.7 * 2 + 5 * 16) * (1 << 24), rel=0.05)
    by_power = estimate(metallib(), of, sizes, "M1")
    assert by_power.joules == pytest.approx(12 * by_power.seconds)
    assert estimate(metallib(), of, sizes, "M3 Max").joules is None


def test_what_is_assumed_of_a_chip_is_said():
    of, sizes = scale(1024)
    notes = estimate(metallib(), of, sizes, "M5 Max 32").notes
    assert any("the clock is unknown" in note for note in notes)
    assert any("bandwidth is unknown" in note for note in notes)
    assert not estimate(metallib(), of, sizes, "M1").notes


def test_aten_steps_are_left_out_and_said():
    of = plan({"y": [1024]}, {"aten": "relu", "args": ["x"], "out": "y"})
    found = estimate(metallib(), of, {"x": TensorType((1024,), "float32")}, "M1")
    assert found.seconds == 0
    assert found.notes == ("relu runs in ATen, not counted",)


def test_wrong_names_are_refused():
    of, sizes = scale(1024)
    with pytest.raises(UnsupportedError, match="no chip"):
        estimate(metallib(), of, sizes, "M99")
    with pytest.raises(PlanError, match="x"):
        estimate(metallib(), of, {}, "M1")
    missing = plan({"y": [4]}, step("absent", ["x"], [4], [4]))
    with pytest.raises(PlanError, match="no kernel 'absent'"):
        estimate(metallib(), missing, sizes, "M1")


def work(**changed):
    given = {
        "name": "k", "threadgroups": 1000, "threads_per_threadgroup": 256, "threadgroup_memory": 0,
        "instructions": {"fp32": 1e6}, "flops": 64e6, "line_bytes": 1e6, "fresh_bytes": 1e6,
        "footprint": 1e6, "threadgroup_bytes": 0.0, "serial_instructions": 10.0,
        "serial_loads": 1.0,
    }  # fmt: skip
    return Work(**{**given, **changed})


@pytest.mark.parametrize("chip", all_chips(), ids=lambda chip: chip.title)
def test_more_of_anything_is_never_faster(chip):
    base = predict(work(), chip).seconds
    for name in ("line_bytes", "fresh_bytes", "footprint", "threadgroup_bytes", "serial_loads"):
        assert predict(work(**{name: 1e9}), chip).seconds >= base, name
    assert predict(work(instructions={"fp32": 1e9}), chip).seconds > base
    assert predict([work(), work()], chip).seconds == pytest.approx(2 * base)
