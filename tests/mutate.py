"""Deliberate mistakes in the records engine, one at a time: do the tests notice?

``python -m tests.mutate [--sample N] [--seed S]``; ``make mutants``. A mutant swaps a comparison or an operator, turns
condition round, or moves a number by one, in a copy of the repository. Those that the tests do not kill are listed with
file and line: each is a test that is missing, or code that makes no difference.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from random import Random

ROOT = Path(__file__).parents[1]
RECORDS = Path("plugins/slussen/records")
SKIPPED = {"stage.py", "__init__.py", "parallel.py"}  # a database's, and one that is about speed alone
TESTS = tuple(  # the quickest to notice first
    f"tests/test_{name}.py"
    for name in (
        "writing", "broken", "records", "traps", "posts", "delimited", "layouts", "oncall", "files", "fields", "relays",
        "tools", "zips",
    )
)  # fmt: skip
LONGEST = 400  # seconds; a mutant that never ends is dead
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """The ``which``-th place of a file where a mistake can be made."""

    file: Path
    which: int
    line: int
    what: str


class _Mistakes(ast.NodeTransformer):
    """Finds the places, or makes the mistake in one of them."""

    def __init__(self, make: int = -1) -> None:
        self.make, self.count = make, 0
        self.found: list[tuple[int, str]] = []

    def _here(self, node: ast.AST, what: str) -> bool:
        self.found.append((getattr(node, "lineno", 0), what))
        self.count += 1
        return self.count - 1 == self.make

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [self.visit(s) for s in node.body]  # not its annotations, nor its defaults
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node  # words

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id in ("Field", "Finding", "CallError", "Literal"):
            return node
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        kind = type(node.ops[0])
        if kind in COMPARISONS and self._here(node, f"{kind.__name__} -> {COMPARISONS[kind].__name__}"):
            node.ops[0] = COMPARISONS[kind]()
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        kind = type(node.op)
        if kind in OPERATORS and self._here(node, f"{kind.__name__} -> {OPERATORS[kind].__name__}"):
            node.op = OPERATORS[kind]()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        other: type[ast.boolop] = ast.Or if isinstance(node.op, ast.And) else ast.And
        if self._here(node, f"{type(node.op).__name__} -> {other.__name__}"):
            node.op = other()
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, (ast.Not, ast.Invert)) and self._here(node, f"without {type(node.op).__name__}"):
            return node.operand
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool):
            if self._here(node, f"{node.value} -> {not node.value}"):
                return ast.copy_location(ast.Constant(not node.value), node)
        elif isinstance(node.value, int) and self._here(node, f"{node.value} -> {node.value + 1}"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        return node


def places() -> list[Mutant]:
    """Every mistake that can be made."""
    found = []
    for file in sorted((ROOT / RECORDS).glob("*.py")):
        if file.name in SKIPPED:
            continue
        finder = _Mistakes()
        finder.visit(ast.parse(file.read_text(encoding="utf-8")))
        found += [Mutant(RECORDS / file.name, n, line, what) for n, (line, what) in enumerate(finder.found)]
    return found


def copied() -> Path:
    """A copy of what the tests need."""
    home = Path(tempfile.mkdtemp(prefix="slussen-mutant-"))
    for name in ("plugins", "include", "tests", "sandbox", "dags"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", home)
    return home


def killed(mutant: Mutant, home: Path) -> bool:
    """Do the tests notice?"""
    file = home / mutant.file
    text = file.read_text(encoding="utf-8")
    tree = _Mistakes(mutant.which).visit(ast.parse(text))
    file.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
    environment = {
        **os.environ,
        "FIELDS_EACH": "150",
        "PYTHONPATH": str(home / "plugins"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS]
    try:
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_text(text, encoding="utf-8")
    return done.returncode != 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=200, help="how many, drawn by the seed (0: all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    every = places()
    chosen = Random(options.seed).sample(every, min(options.sample or len(every), len(every)))
    homes: SimpleQueue[Path] = SimpleQueue()
    for _ in range(options.jobs):
        homes.put(copied())
    survivors = []

    def work(mutant: Mutant) -> None:
        home = homes.get()
        dead = killed(mutant, home)
        homes.put(home)
        if not dead:
            survivors.append(mutant)
        print("." if dead else "S", end="", flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, chosen))
    while not homes.empty():
        shutil.rmtree(homes.get(), ignore_errors=True)
    n = len(chosen)
    print(f"\n{n - len(survivors)} of {n} mutants killed ({1 - len(survivors) / n:.0%}); there are {len(every):,}")
    for m in sorted(survivors, key=lambda m: (str(m.file), m.line)):
        print(f"  {m.file}:{m.line}: {m.what}")


if __name__ == "__main__":
    main()
