"""The table of parameters: every variant is compiled and right, and what is tuned is used."""

import json

import pytest
import torch
from samples_of import every

from metalgen import ops, resources
from metalgen.chips import find_chip
from metalgen.errors import LaunchError
from metalgen.kept_times import Time
from metalgen.kernel_table import families, family
from metalgen.ops import tuning, winners
from metalgen.ops.instances import header
from metalgen.ops.library import library, recorded
from metalgen.ops.samples import find_mismatch
from metalgen.ops.sized_samples import sample_of
from metalgen.ops.winners import bucket, choose, forced

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# Odd on purpose: tiles end inside, and rows are no multiple of four.
SIZES = {
    "gemm": (70, 67, 133),
    "gemv_rows": (70, 133),
    "gemv_columns": (133, 70),
    "convolution": (35, 77, 45),
    "convolution_direct": (37, 5, 9),
    "winograd": (11, 21, 13),
    "quantized_gemm": (70, 67, 136),
    "quantized_gemv": (67, 136),
    "attention": (35, 41, 0),
    "attention_vector": (3, 41, 0),
    "softmax": (1031,),
    "rows": (131,),
    "selective_scan": (131,),
}
# What else kernels' names say.
FILLED = [("4", "weights"), ("8", "input"), ("8", "output")]
VARIANTS = [(f.name, v.name) for f in families().values() for v in f.variants]


@pytest.fixture(autouse=True)
def _nothing_tuned(monkeypatch, tmp_path):
    monkeypatch.setenv("METALGEN_TIMES_DIR", str(tmp_path))
    winners.forget()
    yield
    winners.forget()


@pytest.mark.parametrize(("name", "variant"), every(3, VARIANTS))
def test_every_variant_is_right(name, variant):
    chosen = family(name).variant(variant)
    sizes = SIZES[name]
    if family(name).fits:
        sizes = (*sizes[:-1], chosen["size"] - 3)
    dtype = DTYPES[VARIANTS.index((name, variant)) % 3]
    sample = sample_of(name, sizes)
    with forced(name, variant):
        with recorded() as calls:
            sample.run(sample.make(dtype))
        assert find_mismatch(sample, dtype) is None
    assert any(f"{dtype}".removeprefix("torch.") in call.kernel.info.name for call in calls)
    assert all(chosen.instance in call.kernel.info.name for call in calls[:1])


def test_the_instances_are_those_of_the_table():
    written = (resources.metal_sources() / "instances.h").read_text()
    assert written == header(), "run `python -m metalgen.ops.instances` and build"


def test_the_metallib_holds_every_instance_in_every_dtype():
    names = set(library().names)
    for found in families().values():
        for instance in found.instances() if found.compiled else {}:
            for dtype in ("float32", "float16", "bfloat16"):
                for bits, stage in FILLED:
                    more = {"bits": bits, "stage": stage}
                    assert found.kernel.format(dtype=dtype, variant=instance, **more) in names


def test_the_table_is_whole():
    for found in families().values():
        assert (resources.metal_sources() / found.source).is_file()
        assert set(found.launch) <= set(found.parameters)
        assert len({variant.name for variant in found.variants}) == len(found.variants)
        assert {found.variant(name).name for name in found.default.values()} <= {
            variant.name for variant in found.variants
        }


def test_the_tuner_keeps_the_fastest_and_operations_use_it():
    timings = tuning.tune("softmax", (1000,), rounds=1)
    assert {t.variant for t in timings} == {v.name for v in family("softmax").variants}
    times = [t.us for t in timings]
    assert times == sorted(times)
    assert choose("softmax", torch.empty(1), (600,)).name == timings[0].variant  # the same bucket
    kept = winners.kept(winners.device_name("cpu"), "softmax", "float32", (1024,))
    assert {name: time.us for name, time in kept.items()} == {t.variant: t.us for t in timings}
    assert not winners.kept(winners.device_name("cpu"), "softmax", "float32", (512,))


def test_what_was_tuned_for_other_kernels_is_passed_over(tmp_path):
    tuning.tune("softmax", (1000,), rounds=1)
    path = tmp_path / "tuned.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "version": "others"}))
    winners.forget()
    assert winners.kept(winners.device_name("cpu"), "softmax", "float32", (1000,)) == {}


def test_damaged_winners_are_passed_over_with_a_warning(tmp_path):
    (tmp_path / "tuned.json").write_text("{")
    with pytest.warns(RuntimeWarning, match="damaged and passed over"):
        assert choose("rows", torch.empty(1), (10,)).name == family("rows").default["cpu"]


def test_variants_that_are_wrong_are_not_kept(monkeypatch):
    wrong = family("softmax").variants[0].name
    real = tuning.find_mismatch

    def mismatch(sample, *arguments, **options):
        chosen = choose("softmax", torch.empty(1), (1000,)).name
        return "off by one" if chosen == wrong else real(sample, *arguments, **options)

    monkeypatch.setattr(tuning, "find_mismatch", mismatch)
    timings = tuning.tune("softmax", (1000,), rounds=1)
    assert timings[-1] == tuning.Timing(wrong, None, True, "off by one")
    assert timings[0].variant != wrong


def test_without_the_device_variants_are_ranked_by_the_model_until_one_is_measured():
    timings = tuning.rank("gemm", (512, 512, 512), torch.float16, find_chip("M3 Max"))
    assert len(timings) == len(family("gemm").variants)
    assert all(t.us > 0 and not t.is_measured for t in timings)

    def kept():
        return winners.kept("Apple M3 Max", "gemm", "float16", (512, 512, 512))

    assert min(kept(), key=lambda name: kept()[name].us) == timings[0].variant
    assert not any(time.is_measured for time in kept().values())
    measured = {timings[1].variant: Time(1.0)}
    winners.keep("Apple M3 Max", "gemm", "float16", (512, 512, 512), measured)
    tuning.rank("gemm", (512, 512, 512), torch.float16, find_chip("M3 Max"))
    assert kept()[timings[1].variant] == Time(1.0)


def test_sizes_round_up_to_powers_of_two():
    assert bucket((1, 64, 65, 0)) == "1x64x128x0"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: family("gem"), "no kernel family 'gem'; expected one of gemm"),
        (lambda: family("rows").variant("t3"), "no variant 't3' of rows; expected one of t4"),
        (lambda: tuning.tune("gemm", (4, 4)), "expected the shape m x n x k"),
        (lambda: tuning.tune("gemm", (1, 4, 4)), "gemv_rows is a matrix and a vector"),
        (lambda: tuning.tune("attention", (8, 8, 300)), "expected size up to 256, found 300"),
        (lambda: tuning.tune("quantized_gemm", (8, 8, 9)), "k to be a multiple of 8"),
    ],
)
def test_wrong_requests_are_refused(call, message):
    with pytest.raises(LaunchError, match=message):
        call()


def test_split_sums_are_joined_with_bias_and_residual():
    a, b = torch.randn(2, 9, 300), torch.randn(300, 11)
    bias, residual = torch.randn(11), torch.randn(2, 9, 11)
    with forced("gemm", "64x64x16_2x2_v4_m1_k8"):
        found = ops.fused_gemm(a, b, bias, "relu", residual)
    expected = (a.double() @ b.double() + bias).relu() + residual
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
