"""Where the kernels that Apple's compiler made lie, and which families they form."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from metalgen.air.embedded import open_metallibs
from metalgen.air.metallib import Metallib
from metalgen.errors import MetallibError

_CARRIERS = (".metallib", ".dylib", ".so")

_BINARY = re.compile(
    "^[gsv][a-z0-9]*_(Add|ArcTan2|Bitwise(And|Or|Xor)|Div|Equal|Floor[A-Z]|Greater|LeftShift|Less"
    "|LogAddExp|Logical(And|Or)|Max|Min|Multiply|NaN|NotEqual|Power|Remainder|RightShift|Subtract)"
)
# The first that fits; of the names that fit none, the words before a type or a size count.
_FAMILIES = (
    ("Metal 4 tensor operations", re.compile("_nax")),
    ("ternary", re.compile("^[gsv][a-z0-9]*_Select")),
    ("binary", _BINARY),
    ("unary", re.compile("^(v[n0-9]?|gn[0-9]+(large)?)_[A-Z]")),
    ("copy", re.compile("^[gsv][a-z0-9]*_(dynamic_)?copy")),
    ("fft", re.compile("_fft|fft_|^four_step|bluestein")),
    ("hadamard", re.compile("hadamard")),
    ("random bits", re.compile("^rbits")),
    ("events", re.compile("^(fence|input_coherent)")),
    ("reduce", re.compile("^(all|col|row|init)_reduce")),
    ("arg_reduce", re.compile("^arg(min|max)_")),
    ("softmax", re.compile("softmax")),
    ("logsumexp", re.compile("logsumexp")),
    ("norm", re.compile("^(vjp_)?(layer|rms)(_?norm|_|float|bfloat)")),
    ("rope", re.compile("^rope")),
    ("scan", re.compile("_scan_")),
    ("sort", re.compile("block_sort|mbsort")),
    ("gemv", re.compile("^gemv")),
    ("steel gemm", re.compile("^steel_(gemm|gather|segmented)|^gather_mm")),
    ("convolution", re.compile("conv|unfold")),
    ("attention", re.compile("sdpa|attention")),
    ("gated delta", re.compile("gated_delta")),
    ("affine quantised", re.compile("^affine")),
    ("mxfp quantised", re.compile("^mxfp")),
    ("nvfp quantised", re.compile("^nvfp")),
    ("packed integer products", re.compile("int[48]pack")),
    ("*_dense_cast", re.compile("_dense_cast_")),
    ("*_dense", re.compile("_dense_")),
    ("*_strided_cast", re.compile("_strided_cast_")),
    ("*_strided", re.compile("_strided_")),
)
_TYPE_OR_SIZE = re.compile(
    r"_?(?:b?float|half|bfloat|complex|u?int|u?char|u?short|u?long|bool|[0-9]+(bit)?)(?![a-z]{3})"
)


def family(kernel: str) -> str:
    """What a kernel is a variant of."""
    for name, pattern in _FAMILIES:
        if pattern.search(kernel):
            return name
    return _TYPE_OR_SIZE.split(kernel)[0]


def unpack(path: Path, directory: Path) -> list[Path]:
    """The files that may hold metallibs: `path`, or what lies in it if it is a wheel."""
    if not zipfile.is_zipfile(path):
        return [path]
    with zipfile.ZipFile(path) as wheel:
        members = [name for name in wheel.namelist() if name.endswith(_CARRIERS)]
        return [
            _unpacked(wheel, name, directory / f"{path.stem} {Path(name).name}") for name in members
        ]


def _unpacked(wheel: zipfile.ZipFile, name: str, path: Path) -> Path:
    with wheel.open(name) as source, path.open("wb") as output:
        shutil.copyfileobj(source, output)
    return path


def metallibs(files: list[Path]) -> Iterator[Metallib]:
    """All metallibs in `files`; MetallibError if there is none."""
    found = [metallib for file in files for metallib in _within(file, alone=len(files) == 1)]
    if not found:
        raise MetallibError(f"no metallib in {', '.join(file.name for file in files)}")
    yield from found


def _within(file: Path, *, alone: bool) -> list[Metallib]:
    try:
        return open_metallibs(file)
    except MetallibError:
        if alone:
            raise
        return []
