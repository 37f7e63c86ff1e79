"""`python -m metalgen.software.runtime OUTPUT`: builds the archive of the C++ part, which a wheel carries as maths.zip."""

from __future__ import annotations

import sys
from pathlib import Path

from .archive import build

if len(sys.argv) != 2:
    sys.exit("usage: python -m metalgen.software.runtime OUTPUT")
build(Path(sys.argv[1]))
