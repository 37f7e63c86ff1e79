"""Run OpenSubdiv's stencils on the software device and hold them against PyTorch's products.

    python benchmarks/wild/opensubdiv_kernels.py FOLDER

FOLDER is that of wild_sources.py. Points and derivatives are weighted sums of other points: what
sparse matrices times the points are.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import metalgen
from wild.fetch import folder
from wild.project import Source
from wild.projects.opensubdiv import PROJECT

_POINTS, _STENCILS = 40, 100


def _largest_error(source: Source) -> float:
    """Of all that the kernel writes, relative to the largest value."""
    torch.manual_seed(0)
    defines = dict(source.defines)
    length = int(defines["LENGTH"])
    kinds = 1 + 2 * int(defines["OPENSUBDIV_MTL_COMPUTE_USE_1ST_DERIVATIVES"])
    kinds += 3 * int(defines["OPENSUBDIV_MTL_COMPUTE_USE_2ND_DERIVATIVES"])
    sizes = torch.randint(1, 9, (_STENCILS,), dtype=torch.int32)
    offsets = (sizes.cumsum(0) - sizes).to(torch.int32)
    count = int(sizes.sum())
    indices = torch.randint(0, _POINTS, (count,), dtype=torch.int32)
    weights = [torch.randn(count) for _ in range(kinds)]
    points = torch.randn(_POINTS, length)
    written = [torch.zeros(_STENCILS, length) for _ in range(kinds)]
    whole = [0, length, length]
    uniforms = [0, _STENCILS, 0, 0, *[whole] * 5]
    first = {1: (), 3: (1, 2), 4: (), 6: (1, 2)}[kinds]
    second = tuple(range(kinds - 3, kinds)) if kinds >= 4 else ()
    given = [uniforms, sizes, offsets, indices, weights[0], written[0], points.flatten()]
    for group in (first, second):
        given += [weights[at] for at in group] + [written[at] for at in group]
    library = metalgen.compile_shader(source.text, defines=defines)
    library.eval_stencils(*given, threads=_STENCILS, group_size=32)
    rows = torch.repeat_interleave(torch.arange(_STENCILS), sizes)
    worst = 0.0
    for weight, found in zip(weights, written, strict=True):
        expected = torch.zeros(_STENCILS, length)
        expected.index_add_(0, rows, weight[:, None] * points[indices.long()])
        worst = max(worst, float((expected - found).abs().max() / expected.abs().max()))
    return worst


def main() -> int:
    """Print a line per form; 1 if a kernel is wrong."""
    errors = {
        s.name: _largest_error(s) for s in PROJECT.sources(folder(PROJECT, Path(sys.argv[1])))
    }
    for name, error in errors.items():
        print(f"{name}: relative error {error:.1e}")
    return int(any(error > 1e-5 for error in errors.values()))


if __name__ == "__main__":
    sys.exit(main())
