"""Who may import whom, and how large things may get: the design's section 6 as a test.

A file is one of ours when it lies below one of the folders here or is one of the top modules.  Imports inside functions
count like any other.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("functions", "shared", "console", "localcloud", "demand_forecasting", "demo")
TOP = ("function_app", "bootstrap")
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_TRIGGER_FILE, MEDIAN = 350, 50, 60, 160

WIRING, PROCESS = "shared.wiring", "shared.process"
ORCHESTRATION = {"shared.control_plane", "shared.intake", "shared.operations", "shared.settings", "shared.route_file"}
ORCHESTRATION |= {"shared.run_steps", "shared.world", "shared.early_rings"}
FACES_SEE = {"shared.control_plane", "shared.operations", PROCESS, "shared.errors"}


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    files += [ROOT / f"{name}.py" for name in TOP]
    found = {}
    for path in files:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@functools.cache
def imports(name: str) -> frozenset[str]:
    """What a module imports anywhere in it: modules of ours whole, of others the top name."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {ours_or_top(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if modules()[name].name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            whole = {f"{base}.{alias.name}" for alias in node.names}
            found |= {each if each in modules() else ours_or_top(base) for each in whole}
    return frozenset(found - {name})


def ours_or_top(name: str) -> str:
    return name if name in modules() else name.split(".")[0]


def below(package: str) -> list[str]:
    """The modules of a package, but for its own `__init__`."""
    return [name for name in modules() if name.startswith(f"{package}.")]


def core() -> list[str]:
    return [
        name for name in below("shared") if name.count(".") == 1 and is_module(name) and name not in (WIRING, PROCESS)
    ]


def is_module(name: str) -> bool:
    return modules()[name].name != "__init__.py"


def ours(name: str) -> bool:
    return name.split(".")[0] in {*FOLDERS, *TOP}


def stray(importers: list[str], allowed: set[str], *, others: bool) -> list[str]:
    """Each import outside the standard library and `allowed`; `others` lets third parties in."""
    return sorted(
        f"{importer} imports {found}"
        for importer in importers
        for found in imports(importer)
        if found.split(".")[0] not in sys.stdlib_module_names
        and found not in allowed
        and not (others and not ours(found))
    )


def test_this_test_sees_the_product() -> None:
    assert {"shared.events", "shared.actions.release", "shared.adapters.memory", "functions.queues"} <= set(modules())
    assert "shared.adapters.queues" in imports(WIRING), "imports inside functions are seen"
    assert "azure" in imports("functions.queues")
    assert {"shared.runs", "shared.lanes"} <= imports("shared.control_plane"), "`from shared import x` is seen"


# -- direction -----------------------------------------------------------------------------------------------------


def test_core_modules_import_the_standard_library_and_core_modules() -> None:
    assert stray(core(), set(core()), others=False) == []


def test_core_modules_have_an_order_in_which_each_imports_only_those_before_it() -> None:
    assert cycles(core()) == []


def test_decisions_do_not_know_the_orchestration() -> None:
    pure = ["events", "filters", "templates", "lanes", "runs", "routing", "manifests", "requests", "errors", "ports"]
    pure += [name.removeprefix("shared.") for name in core() if name.startswith("shared.release")]
    importers = [f"shared.{name}" for name in pure]
    assert sorted(name for name in importers if imports(name) & {*ORCHESTRATION, WIRING, PROCESS}) == []


def test_actions_import_core_and_ports() -> None:
    allowed = {*core(), *below("shared.actions")} - ORCHESTRATION
    assert stray(below("shared.actions"), allowed, others=False) == []


def test_adapters_import_core_types_ports_and_sdks() -> None:
    allowed = {*core(), *below("shared.adapters")} - (ORCHESTRATION - {"shared.settings"})
    assert stray(below("shared.adapters"), allowed, others=True) == []


def test_only_the_wiring_names_an_adapter() -> None:
    adapters = {"shared.adapters", *below("shared.adapters")}
    importers = [name for name in modules() if name != WIRING and name not in adapters]
    assert sorted(f"{name} imports {found}" for name in importers for found in imports(name) & adapters) == []


@pytest.mark.parametrize("face", ["functions", "console"])
def test_the_faces_see_control_plane_operations_process_and_errors(face: str) -> None:
    allowed = {*FACES_SEE, "shared", face, *below(face)}
    wrong = stray([face, *below(face)], allowed, others=True)
    assert [found for found in wrong if " imports shared" in found] == []


def test_the_product_imports_nothing_that_surrounds_it() -> None:
    around = {"functions", "console", "localcloud", "demand_forecasting", "demo", "tests", "function_app", "bootstrap"}
    importers = ["shared", *below("shared")]
    assert sorted(name for name in importers if {found.split(".")[0] for found in imports(name)} & around) == []


def test_the_local_cloud_never_imports_the_product() -> None:
    """An emulator that shares the client's code shares its bugs."""
    wrong = {"shared", "functions", "function_app", "console", "demo", "demand_forecasting"}
    importers = ["localcloud", *below("localcloud")]
    assert sorted(name for name in importers if {found.split(".")[0] for found in imports(name)} & wrong) == []


def test_the_workload_imports_nothing_of_ours() -> None:
    importers = ["demand_forecasting", *below("demand_forecasting")]
    wrong = {*FOLDERS, *TOP} - {"demand_forecasting"}
    assert sorted(name for name in importers if {found.split(".")[0] for found in imports(name)} & wrong) == []


def test_nothing_of_the_product_imports_its_tests() -> None:
    assert sorted(name for name in modules() if "tests" in imports(name)) == []


def test_there_are_no_cycles() -> None:
    assert cycles(list(modules())) == []


def cycles(names: list[str]) -> list[str]:
    """Each cycle among these modules, as the path round it."""
    inside, found, done = set(names), [], set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join([*path[path.index(name) :], name]))
            return
        if name in done:
            return
        for imported in sorted(imports(name) & inside):
            visit(imported, (*path, name))
        done.add(name)

    for name in names:
        visit(name, ())
    return found


def test_the_search_for_cycles_finds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    links = {"a": {"b"}, "b": {"c"}, "c": {"b"}}
    monkeypatch.setitem(globals(), "imports", lambda name: frozenset(links[name]))
    assert cycles(["a", "b", "c"]) == ["b -> c -> b"]


# -- indexing ------------------------------------------------------------------------------------------------------


def test_adapters_are_imported_where_they_are_first_used() -> None:
    """Indexing the app must not pay for an SDK: at its top level the wiring names no adapter."""
    early = [node for node in tree(WIRING).body if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {getattr(node, "module", None) or node.names[0].name for node in early}
    assert sorted(name for name in named if "adapters" in name) == []


def test_indexing_the_app_imports_nothing_of_the_product_but_the_way_to_its_first_use() -> None:
    """The first use pays for the product; a cold start is an empty app's."""
    index = "import sys, function_app; function_app.app.get_functions(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", index], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {name for name in done.stdout.split() if name.split(".")[0] == "shared"}
    assert found == {"shared", PROCESS, "shared.errors"}


# -- size ----------------------------------------------------------------------------------------------------------


def functions(name: str) -> Iterator[tuple[str, int]]:
    """Every function of a module with its lines, decorators left out."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def lines(name: str) -> int:
    return len(modules()[name].read_text(encoding="utf-8").splitlines())


def test_no_file_is_longer_than_350_lines() -> None:
    assert sorted(f"{name}: {lines(name)}" for name in modules() if lines(name) > MOST_LINES) == []


def test_the_median_file_has_at_most_160_lines() -> None:
    sizes = sorted(lines(name) for name in modules() if is_module(name))
    assert sizes[len(sizes) // 2] <= MEDIAN


def test_no_function_is_longer_than_50_lines() -> None:
    sizes = [(f"{name}.{function}", size) for name in modules() for function, size in functions(name)]
    long = [f"{place}: {size}" for place, size in sizes if size > MOST_LINES_OF_A_FUNCTION]
    assert sorted(long) == []


def test_most_functions_have_less_than_15_lines() -> None:
    sizes = [size for name in modules() for _, size in functions(name)]
    assert sum(size < 15 for size in sizes) > len(sizes) / 2


def test_a_file_of_triggers_translates_and_has_at_most_60_lines() -> None:
    assert (
        sorted(f"{name}: {lines(name)}" for name in below("functions") if lines(name) > MOST_LINES_OF_A_TRIGGER_FILE)
        == []
    )


def test_nothing_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert sorted(name for name in modules() if set(name.split(".")) & vague) == []


def test_nothing_asks_whether_it_runs_locally() -> None:
    """Locally only endpoints and credentials differ, and they come from settings."""
    asked = []
    for name in [*core(), WIRING, *below("shared.actions"), *below("shared.adapters"), *below("functions")]:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.If) and {"local", "is_local", "running_locally"} & {
                leaf.id for leaf in ast.walk(node.test) if isinstance(leaf, ast.Name)
            }:
                asked.append(f"{name}:{node.lineno}")
    assert asked == []
