"""hashcat: OpenCL kernels that its host compiles as Metal (src/ext_metal.m, src/backend.c).

Each file goes to newLibraryWithSource with the macros below and no other options: the newest
standard, fast maths. What depends on the hash is in the C source of its module. Kernels are
compiled for an Apple GPU at the vector width 1, which is what hashcat has there by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wild.project import Package, Project, Source

_DEVICE = {
    "KERNEL_STATIC": "1",
    "IS_APPLE_SILICON": "1",
    "XM2S(x)": "#x",
    "M2S(x)": "XM2S(x)",
    "MAX_THREADS_PER_BLOCK": "1024",
    "LOCAL_MEM_TYPE": "1",
    "VENDOR_ID": "2",
    "CUDA_ARCH": "0",
    "DEVICE_TYPE": "4",
    "VECT_SIZE": "1",
}
_INSTRUCTIONS = (
    "ADD ADDC SUB SUBC VADD VADDC VADD_CO VADDC_CO VSUB VSUBB VSUB_CO VSUBB_CO VPERM VADD3 VBFE "
    "BFE LOP3 MOV64 PRMT SHFW"
)
_KERNEL = re.compile(r"m(\d{5})(?:_a(\d))?-")
_CONSTANT = re.compile(r"^static const u(?:32|64)\s+(\w+)\s*=\s*(\w+)", re.MULTILINE)
_DIGEST = re.compile(r"DGST_SIZE_(\d)_(\d+)")
# What modules ask for besides, by what is in their source (module_jit_build_options); for a scrypt
# of the parameters that hashcat's own self-test has, and 32 KiB of threadgroup memory.
_OPTIONS = {
    "blowfish_module_jit_build_options": {"FIXED_LOCAL_SIZE": "8"},
    "argon2_module_jit_build_options": {
        "FORCED_THREAD_COUNT": "32",
        "ARGON2_PARALLELISM": "1",
        "ARGON2_TMP_ELEM": "4096",
    },
    "-D FIXED_LOCAL_SIZE=%u": {"FIXED_LOCAL_SIZE": "32"},
    "scrypt_module_jit_build_options": {
        "FIXED_LOCAL_SIZE": "32",
        "SCRYPT_N": "16384",
        "SCRYPT_R": "8",
        "SCRYPT_P": "1",
        "SCRYPT_TMTO": "0",
        "SCRYPT_TMP_ELEM": "512",
    },
}


@dataclass(frozen=True, slots=True)
class _Module:
    """What one kind of hash says of its kernels."""

    constants: dict[str, str]
    options: dict[str, str]


def _modules(folder: Path) -> dict[int, _Module]:
    """The first module for each kernel's number."""
    found: dict[int, _Module] = {}
    for path in sorted(folder.glob("module_*.c")):
        text = path.read_text(errors="replace")
        constants = dict(_CONSTANT.findall(text))
        options = [asked for word, asked in _OPTIONS.items() if word in text]
        if constants.get("KERN_TYPE", "").isdigit():
            module = _Module(constants, options[0] if options else {})
            found.setdefault(int(constants["KERN_TYPE"]), module)
    return found


def _defines(module: _Module, number: int, attack: int) -> dict[str, str]:
    constants = module.constants
    digest = _DIGEST.match(constants.get("DGST_SIZE", "DGST_SIZE_4_4"))
    words = int(digest[1]) // 4 * int(digest[2]) if digest else 4
    inside = constants.get("ATTACK_EXEC") == "ATTACK_EXEC_INSIDE_KERNEL"
    return {
        **{f"DGST_R{at}": constants.get(f"DGST_POS{at}", str(at)) for at in range(4)},
        "DGST_ELEM": str(words),
        "KERN_TYPE": str(number),
        "ATTACK_EXEC": "11" if inside else "10",
        "ATTACK_KERN": str(attack),
        "ATTACK_MODE": str(attack),
        **module.options,
    }


def _sources(root: Path) -> Iterator[Source]:
    here = root / "hashcat"
    modules = _modules(here / "src/modules")
    common = {**_DEVICE, **{f"HAS_{name}": "0" for name in _INSTRUCTIONS.split()}}
    common["INCLUDE_PATH"] = str((here / "OpenCL").resolve())
    for path in sorted((here / "OpenCL").glob("*.cl")):
        if path.name.startswith("inc_"):
            continue
        found = _KERNEL.match(path.name)
        number, attack = (int(found[1]), int(found[2] or 0)) if found else (0, 0)
        defines = {**common, **_defines(modules.get(number, _Module({}, {})), number, attack)}
        yield Source(path.name, path.read_text(), defines=tuple(defines.items()))


PROJECT = Project("hashcat", (Package("debian-source", "hashcat", "7.1.2+ds1-4", "sid"),), _sources)
