"""A pack as a wheel: a package that holds the pack's files, announced by an entry point."""

from __future__ import annotations

import tempfile
from pathlib import Path

from metalgen.errors import ToolchainError
from metalgen.packs.installed import GROUP
from metalgen.packs.manifest import FILES
from metalgen.packs.pack import MANIFEST, Pack

_INIT = '"""A kernel pack of metalgen: data, found by its entry point."""\n'


def write_wheel(pack: Pack, folder: Path) -> Path:
    """Write the pack's wheel into `folder`; its path.

    Raises ToolchainError where the library that writes wheels is missing, PackError for files that
    are not those that were packed.
    """
    try:
        from wheel.wheelfile import WheelFile
    except ImportError as error:
        raise ToolchainError(
            "wheels are written by the package 'wheel'; pip install 'metalgen[packs]'"
        ) from error
    manifest = pack.manifest
    package = f"metalgen_pack_{manifest.name.replace('-', '_')}"
    label = f"{package}-{manifest.version}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{label}-py3-none-any.whl"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as fresh:
        whole = Path(fresh) / path.name  # which the library reads the name from
        with WheelFile(whole, "w") as wheel:
            wheel.writestr(f"{package}/__init__.py", _INIT)
            wheel.writestr(f"{package}/{MANIFEST}", (pack.path / MANIFEST).read_bytes())
            for kernel in pack.kernels:
                for file in FILES:
                    wheel.writestr(f"{package}/{kernel.entry.name}/{file}", kernel.file(file))
            for name, text in _metadata(pack, package).items():
                wheel.writestr(f"{label}.dist-info/{name}", text)
        whole.replace(path)
    return path


def _metadata(pack: Pack, package: str) -> dict[str, str]:
    manifest = pack.manifest
    return {
        "METADATA": (
            "Metadata-Version: 2.1\n"
            f"Name: {package.replace('_', '-')}\n"
            f"Version: {manifest.version}\n"
            f"Summary: {len(manifest.kernels)} verified Metal kernels for metalgen\n"
            "Requires-Dist: metalgen\n"
        ),
        "WHEEL": (
            "Wheel-Version: 1.0\nGenerator: metalgen\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        "entry_points.txt": f"[{GROUP}]\n{manifest.name} = {package}\n",
    }
