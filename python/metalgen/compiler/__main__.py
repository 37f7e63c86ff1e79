"""`python -m metalgen.compiler a.metal ... -o x.metallib`: what the wheel's build calls.

Like `metalgen build`, without the packages that the command line needs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

from metalgen.compiler.build import compile_files
from metalgen.compiler.options import CompileOptions, MathMode, Standard
from metalgen.compiler.selection import select_toolchain
from metalgen.errors import MetalgenError
from metalgen.files import write_whole


def main() -> None:
    """Compile the files named on the command line; errors go to stderr, and the status is 1."""
    parser = argparse.ArgumentParser(prog="python -m metalgen.compiler")
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    parser.add_argument("-o", dest="output", required=True, type=Path)
    parser.add_argument("-I", dest="include_dirs", action="append", default=[], type=Path)
    parser.add_argument("--standard", choices=get_args(Standard), default=CompileOptions().standard)
    parser.add_argument("--math", choices=get_args(MathMode), default=CompileOptions().math)
    parser.add_argument(
        "--signed", action="store_true", help="say in a .json beside it who made it"
    )
    chosen = parser.parse_args()
    options = CompileOptions(math=chosen.math, standard=chosen.standard)
    try:
        metallib = compile_files(
            chosen.sources,
            include_dirs=chosen.include_dirs,
            options=options,
            on_warning=_tell,
        )
        if chosen.signed:
            maker = {"compiler": select_toolchain().description, "standard": options.standard}
            write_whole(chosen.output.with_suffix(".json"), json.dumps(maker).encode() + b"\n")
        write_whole(chosen.output, metallib)
    except (MetalgenError, OSError) as error:
        sys.exit(str(error))


def _tell(warning: str) -> None:
    sys.stderr.write(f"{warning}\n")


if __name__ == "__main__":
    main()
