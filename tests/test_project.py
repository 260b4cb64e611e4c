"""What the project promises of its own source: layers, sizes, forbidden calls, versions, help texts."""

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

import strongroom

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src/strongroom"
MODULES = sorted(SOURCE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_imports_point_down_the_layers() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_decoders_of_our_types_are_made_before_there_are_threads() -> None:
    """Where two threads are the first to decode a type, msgspec 0.22 ends the process by a signal.

    So no call names a type of ours: a `Decoder`, made when its module is imported, knows it.
    """
    plain = {"bytes", "int", "str", "list", "tuple", "dict", "msgspec", "Raw"}
    for path in MODULES:
        for call in calls(parsed(path)):
            if ast.unparse(call.func) in ("msgspec.msgpack.decode", "msgspec.json.decode"):
                for named in (word.value for word in call.keywords if word.arg == "type"):
                    words = set(re.findall(r"\w+", ast.unparse(named)))
                    assert words <= plain, f"{name_of(path)}:{call.lineno}"
        for function in (node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef)):
            made = [ast.unparse(call.func) for call in calls(function)]
            assert not {"msgspec.msgpack.Decoder", "msgspec.json.Decoder"} & set(made), name_of(path)


def test_the_layers_contract_names_every_package() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {word.strip() for layer in layers for word in layer.split(":")}
    packages = {f"strongroom.{path.parent.name}" for path in SOURCE.glob("*/__init__.py")}
    assert packages <= named


def test_no_module_outgrows_a_few_screens() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 500} == {}


def test_nothing_goes_through_a_shell() -> None:
    found = []
    for path in MODULES:
        for call in calls(parsed(path)):
            called = ast.unparse(call.func)
            through_shell = called != "shtab.complete" and any(
                word.arg == "shell"
                and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                for word in call.keywords
            )
            if through_shell or called in {"os.system", "os.popen", "subprocess.getoutput", "eval", "exec"}:
                found.append(f"{name_of(path)}:{call.lineno}: {called}")
    assert found == []


def test_nothing_can_be_unpickled() -> None:
    forbidden = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
    found = [
        (name_of(path), module)
        for path in MODULES
        for module in imported(parsed(path))
        if module.split(".")[0] in forbidden
    ]
    assert found == []


def test_randomness_for_secrets_is_the_operating_systems() -> None:
    found = [
        name_of(path)
        for path in MODULES
        for module in imported(parsed(path))
        if module == "random" and path.relative_to(SOURCE).parts[0] in {"crypto", "repository", "server"}
    ]
    assert found == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        name_of(path) for path in MODULES if path.read_text().strip() and not ast.get_docstring(parsed(path))
    ]
    assert silent == []


def test_source_and_installed_package_have_one_version() -> None:
    # an editable install keeps the version of the day it was made: ./test makes it anew
    assert importlib.metadata.version("strongroom") == strongroom.__version__


def test_the_changelog_leads_with_what_is_not_released() -> None:
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased"


def test_pinned_versions_satisfy_every_declared_dependency() -> None:
    pins = dict(
        re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    )
    declared = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    for extra in PROJECT["project"].get("optional-dependencies", {}).values():
        declared += extra
    for requirement in map(Requirement, declared):
        assert requirement.name in pins, f"{requirement.name}: export requirements-dev.txt anew"
        assert requirement.specifier.contains(pins[requirement.name]), requirement


def test_every_runtime_dependency_is_explained() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    named = [Requirement(line).name for line in PROJECT["project"]["dependencies"]]
    for extra in PROJECT["project"].get("optional-dependencies", {}).values():
        named += [Requirement(line).name for line in extra]
    assert [name for name in named if f"`{name}`" not in page] == []


def linked_files() -> list[tuple[Path, str]]:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target
    ]


def test_links_between_the_pages_lead_somewhere() -> None:
    assert [
        (name_of(page), target) for page, target in linked_files() if not (page.parent / target).exists()
    ] == []
