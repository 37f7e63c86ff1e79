"""OpenSubdiv: its evaluator of stencils and patches (opensubdiv/osd/mtlComputeEvaluator.mm).

The host puts the patch basis in front of the kernels and defines the buffers' indices, the length
and stride of vertices, and which derivatives there are. The examples' shaders draw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from wild.project import Package, Project, Source

_INDEX = re.compile(r"^#define (\w+_BUFFER_INDEX) (\d+)", re.MULTILINE)


def _sources(root: Path) -> Iterator[Source]:
    osd = root / "opensubdiv/opensubdiv/osd"
    indices = _INDEX.findall((osd / "mtlComputeEvaluator.mm").read_text())
    parts = ("patchBasisTypes.h", "patchBasis.h", "mtlComputeKernel.metal")
    text = "\n".join((osd / part).read_text() for part in parts)
    for length, first, second in product((1, 3, 8), (0, 1), (0, 1)):
        yield Source(
            f"mtlComputeKernel.metal, {length} floats, derivatives {first}{second}",
            "#define OSD_PATCH_BASIS_METAL 1\n" + text,
            defines=(
                *indices,
                ("LENGTH", str(length)),
                ("SRC_STRIDE", str(length)),
                ("DST_STRIDE", str(length)),
                ("WORK_GROUP_SIZE", "32"),
                ("OPENSUBDIV_MTL_COMPUTE_USE_1ST_DERIVATIVES", str(first)),
                ("OPENSUBDIV_MTL_COMPUTE_USE_2ND_DERIVATIVES", str(second)),
            ),
        )


PROJECT = Project(
    "OpenSubdiv", (Package("debian-source", "opensubdiv", "3.6.0-3", "sid"),), _sources
)
