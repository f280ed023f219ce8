# SPDX-License-Identifier: Apache-2.0
"""The docstring standard of ``risk/``, and that each of its modules stands alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shared import ROOT

FILES = sorted((ROOT / "risk").rglob("*.py"))
MODULES = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES)
ARRAYS = ("Array", "ndarray", "csr_")
SECTION = re.compile(r"^(Parameters|Returns|Raises|References|Examples|Notes)\n-+$", re.MULTILINE)
# "(n,)", "(books, 3)", "shape (n, n)", "any shape", "scalar", "broadcast": how a docstring says a shape
SHAPE = re.compile(r"\([\w*+ ]+,[\w*+, ]*\)|any shape|[Bb]roadcast|scalar")


def public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    for item in node.body:
        if isinstance(item, ast.ClassDef | ast.FunctionDef) and not item.name.startswith("_"):
            yield item
            if isinstance(item, ast.ClassDef):
                yield from public(item)


def takes_arrays(node: ast.FunctionDef) -> bool:
    given = [a.annotation for a in (*node.args.args, *node.args.kwonlyargs) if a.annotation is not None]
    return any(name in ast.unparse(item) for item in given for name in ARRAYS)


def returns_arrays(node: ast.FunctionDef) -> bool:
    return node.returns is not None and any(name in ast.unparse(node.returns) for name in ARRAYS)


def faults(text: str) -> list[str]:
    """What the public names of a module fail to say."""
    tree, out = ast.parse(text), []
    if not ast.get_docstring(tree):
        out.append("the module has no docstring")
    for item in public(tree):
        said = ast.get_docstring(item)
        if not said:
            out.append(f"{item.name} has no docstring")
    for function in (item for item in tree.body if isinstance(item, ast.FunctionDef) and item.name[0] != "_"):
        said = ast.get_docstring(function) or ""
        sections = {match[1] for match in SECTION.finditer(said)}
        first = SECTION.split(said)[0]
        # a short function may say its shapes in its first lines
        if takes_arrays(function) and "Parameters" not in sections and not SHAPE.search(first):
            out.append(f"{function.name} takes arrays: say their shapes and units under Parameters")
        if returns_arrays(function) and "Returns" not in sections and not SHAPE.search(first):
            out.append(f"{function.name} returns arrays: say their shapes and units under Returns")
        raised = {ast.unparse(n.exc).split("(")[0] for n in ast.walk(function) if isinstance(n, ast.Raise) and n.exc}
        if raised & {"BadInput", "InsufficientHistory", "DataGap", "GateFailed"} and "Raises" not in sections:
            out.append(f"{function.name} raises {', '.join(sorted(raised))}: say when under Raises")
    return out


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_functions_say_shapes_and_errors(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


def test_the_check_sees_what_is_missing() -> None:
    text = "def f(x: FloatArray) -> FloatArray:\n    '''Doubles.'''\n    raise BadInput('x')\n"
    assert len(faults(text)) == 4
    said = text.replace("Doubles.", "Doubles (n,).\n\n    Raises\n    ------\n    BadInput\n        Always.\n    ")
    assert faults('"""M."""\n' + said) == []


def test_every_module_stands_alone() -> None:
    """With the keeper, web3 and what else serves a chain out of reach; last first, then first again, for cycles."""
    code = f"""
import importlib, sys
blocked = {{"keeper", "web3", "eth_abi", "eth_utils", "eth_account", "vyper", "boa", "pyrevm", "typer", "rich",
            "sqlalchemy", "pydantic", "tests", "scripts"}}
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"risk must not import {{name}}")
sys.meta_path.insert(0, Wall())
for modules in ({MODULES[::-1]!r}, {MODULES!r}):
    for name in [n for n in sys.modules if n == "risk" or n.startswith("risk.")]:
        del sys.modules[name]
    for name in modules:
        importlib.import_module(name)
print(len(modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(FILES)
