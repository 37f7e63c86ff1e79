"""The committed types of the native core name what the built core has, no more and no less."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from metalgen import _core

STUB = ast.parse((Path(__file__).parents[1] / "python" / "metalgen" / "_core.pyi").read_text())


def public(module_or_class):
    return {name for name in vars(module_or_class) if not name.startswith("_")}


CLASSES = {
    node.name: node
    for node in STUB.body
    if isinstance(node, ast.ClassDef) and not any(ast.unparse(b) == "Protocol" for b in node.bases)
}


def test_the_module_has_the_classes_and_functions_of_the_stub():
    functions = {node.name for node in STUB.body if isinstance(node, ast.FunctionDef)}
    assert public(_core) == functions | set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_has_the_members_of_its_stub(name):
    members = {node.name for node in CLASSES[name].body if isinstance(node, ast.FunctionDef)}
    assert public(getattr(_core, name)) == {name for name in members if not name.startswith("_")}
