"""`python -m metalgen.software.runtime OUTPUT`: builds maths.zip, the C++ part a wheel carries."""

from __future__ import annotations

import sys
from pathlib import Path

from metalgen.software.runtime.archive import build

if len(sys.argv) != 2:
    sys.exit("usage: python -m metalgen.software.runtime OUTPUT")
build(Path(sys.argv[1]))
