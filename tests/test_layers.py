"""Who may import whom: the table in docs/architecture.md, held against the import statements."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "metalgen"


def layers() -> dict[str, tuple[str, set[str]]]:
    """Each part of metalgen with the layer it belongs to and the layers it may import."""
    table = (ROOT / "docs" / "architecture.md").read_text()
    parts: dict[str, tuple[str, set[str]]] = {}
    above: list[str] = []
    for names, allowed in re.findall(r"^\| (`metalgen.*?) \|.*\| (.*?) \|$", table, re.MULTILINE):
        layer, *more = re.findall(r"`metalgen\.(\w+)`", names)
        may = set(above) if allowed == "everything above" else set(re.findall(r"\w+", allowed))
        assert may - {"nothing"} <= set(above), f"{layer} may import what stands below it"
        parts |= dict.fromkeys([layer, *more], (layer, may))
        above.append(layer)
    return parts


def imports(path: Path) -> set[str]:
    """The parts of metalgen that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("metalgen.")}


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    if node.level == 0:
        return node.module or ""
    package = path.parent.parts[len(PACKAGE.parts) - 1 :]
    here = package[: len(package) - node.level + 1]
    return ".".join([*here, *([node.module] if node.module else [])])


FILES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.name not in ("__init__.py", "__main__.py")
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_layer_may(path):
    parts = layers()
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    layer, allowed = parts[part]
    wrong = {name for name in imports(path) if parts[name][0] not in {layer, *allowed}}
    assert not wrong, f"{layer} must not import {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("part", ["air", "compiler", "software"])
def test_compilers_do_without_torch(part):
    for path in (PACKAGE / part).rglob("*.py"):
        assert not re.search(r"^\s*(import|from) torch\b", path.read_text(), re.MULTILINE), path


def test_importing_metalgen_alone_is_light():
    code = "import sys, metalgen; print(*{'torch', 'numpy', 'llvmlite'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path):
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "print" not in called or PACKAGE / "cli" in path.parents
