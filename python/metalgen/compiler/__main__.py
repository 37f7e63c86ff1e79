"""`python -m metalgen.compiler a.metal ... -o x.metallib`: what the wheel's build calls.

Like `metalgen build`, without the packages that the command line needs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from metalgen.compiler.build import compile_files
from metalgen.errors import MetalgenError
from metalgen.files import write_whole


def main() -> None:
    """Compile the files named on the command line; errors go to stderr, and the status is 1."""
    parser = argparse.ArgumentParser(prog="python -m metalgen.compiler")
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    parser.add_argument("-o", dest="output", required=True, type=Path)
    parser.add_argument("-I", dest="include_dirs", action="append", default=[], type=Path)
    chosen = parser.parse_args()
    try:
        write_whole(chosen.output, compile_files(chosen.sources, include_dirs=chosen.include_dirs))
    except (MetalgenError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
