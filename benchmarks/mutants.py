"""How many small mistakes the tests would notice: changes one place of the code at a time and runs the tests that belong to it.

    make mutants                                         120 places drawn by a seed: about half an hour on two processors
    python benchmarks/mutants.py --sample 0              every change of every place: hours
    python benchmarks/mutants.py --only "tasks"          groups whose name holds these words

What is changed and by which tests that should be noticed stands in `mutants.toml`: a change that the group's own tests do not notice is
tried with the wider ones, of the whole stage. The changes of Python are cosmic-ray's; those of
SQL, where most rules of this project stand, are made here (`SQL_CHANGES`). Works on copies of the tree: the working tree stays as
it is. Prints every mutant with its outcome, a table, and the survivors with their difference. Annotations are left out, since nothing
reads them when the code runs. Needs the extra `mutants`: pip install -c constraints.txt -e '.[mutants]'.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import io
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, zip_longest
from pathlib import Path
from queue import Queue
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("humanllm_assets", "humanllm_assets_tests", "resources", "docs", "prompts", "pyproject.toml", "workspace.yaml")
PRELOADED = [
    "pytest",
    "hypothesis",
    "duckdb",
    "pyarrow.parquet",
    "pydantic",
    "yaml",
    "orjson",
    "jinja2",
    "aiohttp",
    "numpy",
    "pandas",
]
SQL = re.compile(r"\b(select|from|where|join|case when|partition by|is null|n_chars|word_count)\b|^\W*\w+ (<|>|<=|>=|=) ", re.I)
SQL_CHANGES = [
    (r"(?<= )<(?= )", "<="),
    (r"(?<= )<=(?= )", "<"),
    (r"(?<= )>(?= )", ">="),
    (r"(?<= )>=(?= )", ">"),
    (r"(?<= )<>(?= )", "="),
    (r"(?i)\band\b", "or"),
    (r"(?i)\bor\b(?! replace)", "and"),
    (r"(?i)\bis not null\b", "is null"),
    (r"(?i)\bis null\b", "is not null"),
    (r"(?i)\bnot(?= (\w+\(|coalesce|described))", ""),
    (r"(?i)\bdistinct\b(?! from)", ""),
    (r"(?i)\bleft join\b", "join"),
    (r"(?i)\bsemi join\b", "anti join"),
    (r"(?i)\barg_min\b", "arg_max"),
]


class ChangeSql(Operator):
    """One replacement of `SQL_CHANGES` in one place of a string that reads like SQL."""

    def mutation_positions(self, node):
        for start, _ in self._changes(node):
            line, column = node.start_pos
            before = node.value[:start]
            row = before.count("\n")
            position = (line + row, start - before.rfind("\n") - 1 + (0 if row else column))
            yield position, (position[0], position[1] + 1)

    def mutate(self, node, index):
        node.value = self._changes(node)[index][1]
        return node

    def _changes(self, node) -> list[tuple[int, str]]:
        """Where a string is changed, and its new text."""
        if node.type not in ("string", "fstring_string") or node.get_previous_leaf() is None:
            return []
        whole = node.get_code() if node.type == "string" else node.parent.get_code()
        if not SQL.search(whole) or (whole.lstrip().startswith('"""') and node.parent.type in ("simple_stmt", "file_input")):
            return []
        return [
            (m.start(), node.value[: m.start()] + new + node.value[m.end() :])
            for old, new in SQL_CHANGES
            for m in re.finditer(old, node.value)
        ]

    @classmethod
    def examples(cls):
        return ()


class Mutant(NamedTuple):
    """One change of one place. `tests`: those that should notice it; `wider`: those that are tried when they don't."""

    group: str
    file: str
    line: int
    operator: str
    occurrence: int
    tests: tuple[str, ...]
    wider: tuple[str, ...]


class Result(NamedTuple):
    """What became of a mutant: killed, survived, or timed out, which counts as killed. `by`: the test that noticed it."""

    mutant: Mutant
    outcome: str
    seconds: float
    difference: str
    by: str


def get_operators() -> dict[str, Operator]:
    """Every operator that needs no arguments, by name."""
    found: dict[str, Operator] = {"ChangeSql": ChangeSql()}
    for name in operator_names():
        operator = get_operator(name)
        if not operator.arguments():
            found[name.partition("/")[2]] = operator()
    return found


def find_annotations(text: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations stand: from (line, column) to (line, column)."""
    found = []
    for node in ast.walk(ast.parse(text)):
        for a in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(a, ast.expr):
                found.append(((a.lineno, a.col_offset), (a.end_lineno or a.lineno, a.end_col_offset or 0)))
    return found


def find_files(group: dict, tests: Sequence[str]) -> list[Path]:
    """The modules of a group.

    Raises:
        SystemExit: a pattern matches nothing, or a test file is not there.
    """
    found: list[Path] = []
    for pattern in group["files"]:
        matches = sorted((ROOT / "humanllm_assets").glob(pattern))
        if not matches:
            raise SystemExit(f"benchmarks/mutants.toml: no module matches `{pattern}` of group `{group['name']}`")
        found += [path for path in matches if path.name != "__init__.py"]
    if missing := [t for t in tests if not (ROOT / "humanllm_assets_tests" / t).exists()]:
        raise SystemExit(f"benchmarks/mutants.toml: {', '.join(missing)} of group `{group['name']}` is not there")
    return found


def list_mutants(config: dict, only: str) -> Iterator[Mutant]:
    """Every change of every place of the groups whose name holds `only`."""
    operators = get_operators()
    for group in config["group"]:
        if only not in group["name"]:
            continue
        named = group["tests"], config["wider"][group["wider"]]
        tests, wider = (tuple(f"humanllm_assets_tests/{t}" for t in some) for some in named)
        for path in find_files(group, [*named[0], *named[1]]):
            text = path.read_text(encoding="utf-8")
            lines, annotations, tree = text.splitlines(), find_annotations(text), get_ast(text)
            for name, operator in operators.items():
                places = [start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
                for occurrence, place in enumerate(places):
                    line = lines[place[0] - 1]
                    if any(start <= place < end for start, end in annotations) or any(
                        re.search(of, name) and re.search(pattern, line) for of, pattern in config["skip"]
                    ):
                        continue
                    yield Mutant(group["name"], str(path.relative_to(ROOT)), place[0], name, occurrence, tests, wider)


def draw(mutants: Sequence[Mutant], sample: int, seed: int) -> list[Mutant]:
    """`sample` of them at random, one per line of code, as many from every group as it has; all of them for 0."""
    if not sample:
        return list(mutants)
    chance = random.Random(seed)
    # first one of each family: a `+` alone has eleven changes, and most of them fail at once
    families = {(m.file, m.line, m.operator.partition("_")[0]): m for m in chance.sample(mutants, len(mutants))}
    lines = {(m.file, m.line): m for m in chance.sample(list(families.values()), len(families))}
    groups: dict[str, list[Mutant]] = {}
    for mutant in lines.values():
        groups.setdefault(mutant.group, []).append(mutant)
    in_turn = (m for turn in zip_longest(*(chance.sample(g, len(g)) for g in groups.values())) for m in turn if m)
    return sorted(islice(in_turn, sample))


# ---- running ---------------------------------------------------------------------------------------------------------


def run_pytest(folder: str, tests: Sequence[str], log: str) -> None:
    """Run tests in a copy of the tree; in a process of its own, which ends with pytest's exit status."""
    os.setsid()
    os.chdir(folder)
    os.environ.update(PYTHONPATH=folder, PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    sys.path[:] = [folder, *(p for p in sys.path if p not in ("", str(ROOT), str(ROOT / "benchmarks")))]
    with open(log, "w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        import hypothesis
        import pytest

        hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True)
        hypothesis.settings.load_profile("mutants")
        options = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-m",
            "not real_engine and not browser and not long and not oracle",
        ]
        status = pytest.main([*options, *tests])
    os._exit(int(status))


class Copy:
    """A copy of the tree in which one mutant at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pid = 0
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / name)

    def run(self, tests: Sequence[str], timeout_s: float) -> int | None:
        """Exit status of the tests; None when they took too long and were stopped."""
        process = multiprocessing.get_context("forkserver").Process(
            target=run_pytest, args=(str(self.folder), tests, str(self.folder / "pytest.log"))
        )
        process.start()
        self._pid = process.pid or 0
        process.join(timeout_s)
        status = process.exitcode
        self.stop()
        process.join()
        return status

    def stop(self) -> None:
        """End the tests that run, with the processes that they started."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)

    def try_one(self, mutant: Mutant, timeout_s: float, wider_timeout_s: float) -> Result:
        file = self.folder / mutant.file
        text = file.read_text(encoding="utf-8")
        started = time.monotonic()
        changed = mutate_code(text, get_operators()[mutant.operator], mutant.occurrence)
        difference = "\n".join(difflib.unified_diff(text.splitlines(), changed.splitlines(), n=1, lineterm=""))
        file.write_text(changed, encoding="utf-8")
        try:
            status = self.run(mutant.tests, timeout_s)
            if status == 0:
                status = self.run(mutant.wider, wider_timeout_s)
        finally:
            file.write_text(text, encoding="utf-8")
        outcome = "survived" if status == 0 else "timed out" if status is None else "killed"
        found = re.findall(r"^(?:FAILED|ERROR) humanllm_assets_tests/(\S+)", (self.folder / "pytest.log").read_text(), re.M)
        return Result(mutant, outcome, time.monotonic() - started, difference, found[0] if found and status else "")


def measure(free: Queue[Copy], tests: Sequence[str]) -> float:
    """How long these tests may take for a mutant: several times as long as on the code as it is.

    Raises:
        SystemExit: tests fail without any change.
    """
    copy, started = free.get(), time.monotonic()
    status = copy.run(tests, 1800)
    free.put(copy)
    if status != 0:
        raise SystemExit(f"tests fail on the code as it is:\n{(copy.folder / 'pytest.log').read_text()[-3000:]}")
    seconds = time.monotonic() - started
    print(f"{' '.join(tests)}: {seconds:.0f} s", flush=True)
    return 60 + 5 * seconds


def show(results: Sequence[Result], total: int) -> str:
    """A table of scores by group and module, and the survivors."""
    out = io.StringIO()
    by_module: dict[tuple[str, str], list[Result]] = {}
    for r in results:
        by_module.setdefault((r.mutant.group, r.mutant.file), []).append(r)
    print(f"\n{'module':<52} {'mutants':>8} {'killed':>7}", file=out)
    for (_, file), own in sorted(by_module.items()):
        print(f"{file:<52} {len(own):>8} {sum(r.outcome != 'survived' for r in own):>7}", file=out)
    killed = sum(r.outcome != "survived" for r in results)
    print(f"{'all':<52} {len(results):>8} {killed:>7}  {killed / max(1, len(results)):.0%} of {total} possible\n", file=out)
    for r in results:
        if r.outcome == "survived":
            print(f"{r.mutant.file}:{r.mutant.line} {r.mutant.operator}", file=out)
            print("\n".join(line for line in r.difference.splitlines() if not line.startswith(("---", "+++"))) + "\n", file=out)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description="How many small mistakes the tests would notice.")
    parser.add_argument("--sample", type=int, default=120, help="places to change; 0: every change of every place")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="words of the names of groups")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    config = tomllib.loads((ROOT / "benchmarks/mutants.toml").read_text(encoding="utf-8"))
    possible = list(list_mutants(config, arguments.only))
    mutants = draw(possible, arguments.sample, arguments.seed)
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as root, ThreadPoolExecutor(arguments.jobs) as pool:
        free: Queue[Copy] = Queue()
        copies = [Copy(Path(root) / str(n)) for n in range(arguments.jobs)]
        for copy in copies:
            free.put(copy)
        tests = sorted({t for m in mutants for t in (m.tests, m.wider)})
        limits: dict[tuple[str, ...], float] = {}

        def run(mutant: Mutant) -> None:
            copy = free.get()
            result = copy.try_one(mutant, limits[mutant.tests], limits[mutant.wider])
            free.put(copy)
            results.append(result)
            what = f"{mutant.file}:{mutant.line} {mutant.operator} ({result.seconds:.0f} s) {result.by}"
            print(f"[{len(results)}/{len(mutants)}] {result.outcome:<9} {what}", flush=True)

        try:
            limits |= zip(tests, pool.map(lambda some: measure(free, some), tests), strict=True)
            list(pool.map(run, mutants))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for copy in copies:
                copy.stop()
            raise
    print(show(sorted(results), len(possible)))


if __name__ == "__main__":
    main()
