"""Deliberate mistakes in the records engine, one at a time: do the tests notice?

``python -m tests.mutate [--sample N] [--seed S]``; ``make mutants``. A mutant swaps a comparison or an operator, turns
a condition round, or moves a number by one, in a copy of the repository. Those that the tests do not kill are listed
with file and line: each is a test that is missing, or code that makes no difference.

A mutant is tried by the tests that come by its statement, the quick ones first: a run without mistakes says which, and
how long each takes. A test is hung when it takes many times as long. Nothing is left out but the words of findings, and
numbers of a module that only make it quicker or slower: upper-case names with ``# tuning`` behind them.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDS = Path("plugins/slussen/records")
SKIPPED = {"stage.py", "__init__.py", "parallel.py"}  # a database's, and one that is about speed alone
TESTS = [  # those that need no database
    f"tests/test_{name}.py"
    for name in (
        "binary_copy", "blocks", "broken", "delimited", "detect", "fields", "files", "forms", "identities", "layouts",
        "limits", "notation", "oncall", "posts", "rare", "records", "relays", "tables", "tools", "traps", "writing",
        "xml_text", "zips",
    )
]  # fmt: skip
FEW = 40  # of so few tests that come by a statement others may have what it found out: all are tried
MEMORY = 8 << 30  # bytes: more is a mistake that is noticed
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
    lines: tuple[int, ...]  # of its statement; none, if it isn't in a function


class _Mistakes(ast.NodeTransformer):
    """Finds the places, or makes the mistake in one of them."""

    def __init__(self, text: str, make: int = -1) -> None:
        self.lines, self.make, self.count = text.splitlines(), make, 0
        self.found: list[tuple[int, str, tuple[int, ...]]] = []
        self.inside = 0  # how many functions
        self.statement: tuple[int, ...] = ()  # its lines; of one with a body those before it

    def _here(self, node: ast.AST, what: str) -> bool:
        self.found.append((getattr(node, "lineno", 0), what, self.statement if self.inside else ()))
        self.count += 1
        return self.count - 1 == self.make

    def visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, ast.stmt):
            return super().visit(node)
        outer, body = self.statement, getattr(node, "body", None)
        self.statement = tuple(range(node.lineno, body[0].lineno if body else (node.end_lineno or node.lineno) + 1))
        made = super().visit(node)
        self.statement = outer
        return made

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.inside += 1
        node.body = [self.visit(s) for s in node.body]  # not its annotations, nor its defaults
        self.inside -= 1
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        tuned = "# tuning" in self.lines[node.lineno - 1] and ast.unparse(node.targets[0]).isupper()
        return node if tuned else self.generic_visit(node)

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


def places(right: Path) -> list[Mutant]:
    """Every mistake that can be made."""
    found = []
    for file in sorted((right / RECORDS).glob("*.py")):
        if file.name in SKIPPED:
            continue
        text = file.read_text(encoding="utf-8")
        finder = _Mistakes(text)
        finder.visit(ast.parse(text))
        found += [Mutant(RECORDS / file.name, n, *place) for n, place in enumerate(finder.found)]
    return found


def copied() -> Path:
    """A copy of what the tests need, in memory where there is such a place."""
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="slussen-mutant-", dir=memory if memory.is_dir() else None))
    for name in ("plugins", "include", "tests", "sandbox", "dags"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", home)
    return home


@dataclass(eq=False)
class Watched:
    """A run without mistakes, as a plugin of pytest's: what each test takes, and by which lines it comes."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # by file and line: tests, or files of them
    file: str = ""

    def pytest_sessionstart(self) -> None:
        from coverage import Coverage

        self.coverage = Coverage(data_file=None, include=[f"*/{RECORDS}/*"], config_file=False)
        self.coverage.start()

    def pytest_collectstart(self, collector: Any) -> None:
        self.coverage.switch_context(collector.nodeid)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [i for i in items if "postgres" not in i.fixturenames]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        file = nodeid.split("::")[0]
        if file != self.file:  # what one file's tests have found out others need too
            self.file = file
            for name, module in list(sys.modules.items()):
                for value in vars(module).values() if name.startswith("slussen.") else ():
                    getattr(value, "cache_clear", int)()
        self.coverage.switch_context(nodeid)
        self.seconds[nodeid] = monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] = monotonic() - self.seconds[nodeid]

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        found = self.coverage.get_data()
        for file in found.measured_files():
            self.lines[Path(file).name] = {str(n): tests for n, tests in found.contexts_by_lineno(file).items()}
        Path("watched.json").write_text(json.dumps([self.seconds, self.lines]), encoding="utf-8")


class Ordered:
    """A run with a mistake, as a plugin of pytest's: the tests that come by it, the quick ones before the slow ones."""

    def __init__(self, watched: Watched, mutant: Mutant) -> None:
        by_line = watched.lines.get(mutant.file.name, {})
        near = {test for line in mutant.lines for test in by_line.get(str(line), [])}
        near = {test for test in watched.seconds if {test, test.split("::")[0]} & near}
        tests = near if len(near) >= FEW else {*watched.seconds}
        self.seconds = {test: (test not in near, watched.seconds[test]) for test in tests}
        self.files = sorted({test.split("::")[0] for test in tests})

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.seconds), key=lambda i: self.seconds[i.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        signal.setitimer(signal.ITIMER_REAL, 60 + 20 * self.seconds[nodeid][1])  # and the alarm is the end


def started(home: Path, plugin: Watched | Ordered) -> int:
    """The tests in a process of their own, that has what is heavy of others' already; its id."""
    if pid := os.fork():
        return pid
    status = 4  # as pytest says that it couldn't begin
    try:
        os.setsid()
        os.chdir(home)
        (home / "tmp").mkdir(exist_ok=True)
        os.environ |= {"PYTHONPATH": f"{home}/plugins:{home}", "TMPDIR": f"{home}/tmp", "FIELDS_EACH": "50"}
        if isinstance(plugin, Ordered):
            os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "FIELDS_EACH": "150"}
            sys.dont_write_bytecode = True
        tempfile.tempdir = None
        sys.path[:] = [f"{home}/plugins", str(home), *(p for p in sys.path if Path(p).resolve() != ROOT)]
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        quiet = os.open(home / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        import pytest
        from hypothesis import Phase, settings

        settings.register_profile("mutants", database=None, phases=[Phase.explicit, Phase.generate])
        settings.load_profile("mutants")
        files = plugin.files if isinstance(plugin, Ordered) else TESTS
        # (To explain how two long values differ takes minutes.)
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", f"--basetemp={home}/tmp/pytest"]
        status = pytest.main([*arguments, *files], [plugin])
    finally:
        os._exit(status)


def mistaken(mutant: Mutant, right: Path, home: Path) -> None:
    """Make the mistake in the copy."""
    text = (right / mutant.file).read_text(encoding="utf-8")
    tree = _Mistakes(text, mutant.which).visit(ast.parse(text))
    file = home / mutant.file
    file.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
    for old in file.parent.glob(f"__pycache__/{file.stem}.*"):
        old.unlink()  # it might pass for the new file's


def watched(home: Path) -> Watched:
    """The run without mistakes.

    Raises:
        SystemExit: a test failed.
    """
    started(home, Watched())
    if os.wait()[1]:
        sys.exit((home / "output.txt").read_text(encoding="utf-8"))
    return Watched(*json.loads((home / "watched.json").read_text(encoding="utf-8")))


def tried(mutants: list[Mutant], right: Path, homes: list[Path], known: Watched) -> Iterator[tuple[Mutant, str]]:
    """Each mutant and what became of it: ``.`` killed, ``T`` hung, ``S`` survived.

    Raises:
        SystemExit: the tests couldn't begin, or there were none.
    """
    free, running = list(homes), dict[int, tuple[Mutant, Path]]()
    waiting = mutants[::-1]
    while waiting or running:
        while waiting and free:
            mutant, home = waiting.pop(), free.pop()
            mistaken(mutant, right, home)
            running[started(home, Ordered(known, mutant))] = mutant, home
        pid, status = os.wait()
        mutant, home = running.pop(pid)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) in (4, 5):
            sys.exit((home / "output.txt").read_text(encoding="utf-8"))
        shutil.copy(right / mutant.file, home / mutant.file)
        free.append(home)
        yield mutant, "S" if status == 0 else "T" if os.WTERMSIG(status) == signal.SIGALRM else "."


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=200, help="how many, drawn by the seed (0: all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    import numpy, psycopg, pyarrow.compute, pydantic, yaml  # noqa: E401, F401, I001 (once, for all the processes)
    import hypothesis, pytest  # noqa: E401, F401

    right = copied()
    homes = [Path(f"{right}-{n}") for n in range(options.jobs)]
    try:
        every = places(right)
        chosen = Random(options.seed).sample(every, min(options.sample or len(every), len(every)))
        known = watched(right)
        for home in homes:
            shutil.copytree(right, home)
        unhurt = Mutant(chosen[0].file, -1, 0, "nothing", ())
        if [end for _, end in tried([unhurt], right, homes, known)] != ["S"]:
            sys.exit((homes[-1] / "output.txt").read_text(encoding="utf-8"))
        ends = {}
        for mutant, end in tried(chosen, right, homes, known):
            ends[mutant] = end
            print(end, end="", flush=True)
    finally:
        for home in (right, *homes):
            shutil.rmtree(home, ignore_errors=True)
    survivors, n = [m for m, end in ends.items() if end == "S"], len(chosen)
    hung = sum(end == "T" for end in ends.values())
    print(f"\n{n - len(survivors)} of {n} mutants killed ({1 - len(survivors) / n:.0%}), {hung} of them hung; "
          f"there are {len(every):,}")  # fmt: skip
    for m in sorted(survivors, key=lambda m: (str(m.file), m.line)):
        print(f"  {m.file}:{m.line}: {m.what}")


if __name__ == "__main__":
    main()
