"""What the house rules say about the source, read from its syntax trees; import-linter sees to the rooms."""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
SOURCE: Final = ROOT / "src" / "loyalty"
FILES: Final = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE: Final = 300
NEAR_THE_LIMIT: Final = 270
QUERIES: Final = r"\w+/(\w+_)?queries|points/verification"
STATEMENTS: Final = {"select", "insert", "update", "delete"}

Test = Callable[[ast.AST], bool]


def _name(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), filename=str(file))


def _places(test: Test, *, files: list[Path] | None = None) -> Iterator[str]:
    for file in FILES if files is None else files:
        for node in ast.walk(_tree(file)):
            if test(node):
                yield f"{_name(file)}:{getattr(node, 'lineno', 0)}"


def _files(places: Iterator[str]) -> set[str]:
    return {place.rpartition(":")[0] for place in places}


def _calls(name: str, *, on: set[str] | None = None) -> Test:
    """Find calls of a method by name, or of a method of certain names only (`datetime.now`)."""

    def test(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name):
            return False
        owner = node.func.value
        return on is None or (isinstance(owner, ast.Name | ast.Attribute) and ast.unparse(owner) in on)

    return test


def _imported(node: ast.AST) -> set[str]:
    """Return the top-level packages, and the rooms of ours, that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


def test_there_is_a_source_to_look_at() -> None:
    assert len(FILES) > 100


def test_a_transaction_is_committed_in_one_place() -> None:
    assert _files(_places(_calls("commit"))) == {"core/db.py"}
    begun = _files(_places(_calls("begin")))
    assert begun == {"core/db.py"}
    assert _files(_places(_calls("begin_nested"))) == {"core/db.py"}


def test_statements_are_written_in_queries_only() -> None:
    def imports_statements(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("sqlalchemy")
            and any(alias.name in STATEMENTS for alias in node.names)
        )

    allowed = re.compile(rf"(core/.*|metrics/.*|{QUERIES})\.py")
    assert {file for file in _files(_places(imports_statements)) if not allowed.fullmatch(file)} == set()


def test_sql_text_is_written_in_queries_models_and_at_the_edges_only() -> None:
    """A model's `text` is the condition of a partial index."""

    def imports_text(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("sqlalchemy")
            and any(alias.name == "text" for alias in node.names)
        )

    allowed = re.compile(rf"(core/.*|metrics/.*|migrations/.*|app|\w+/models|{QUERIES})\.py")
    assert {file for file in _files(_places(imports_text)) if not allowed.fullmatch(file)} == set()


def test_statements_are_executed_in_queries_and_at_the_edges_only() -> None:
    allowed = re.compile(rf"(core/.*|metrics/fragments|migrations/.*|app|{QUERIES})\.py")
    assert {file for file in _files(_places(_calls("execute"))) if not allowed.fullmatch(file)} == set()


def test_the_clock_is_read_in_one_place() -> None:
    clocks = {"now", "utcnow", "today"}
    owners = {"datetime", "date", "datetime.datetime", "datetime.date"}
    read = {place for name in clocks for place in _files(_places(_calls(name, on=owners)))}
    assert read == {"core/clock.py"}


def test_seconds_are_counted_only_where_processes_are_watched() -> None:
    counted = {
        place
        for name in ("time", "time_ns", "monotonic", "perf_counter")
        for place in _files(_places(_calls(name, on={"time"})))
    }
    assert {place for place in counted if not place.startswith(("core/embedded/", "demo/"))} == set()


def test_chance_is_drawn_from_secrets() -> None:
    def imports_random(node: ast.AST) -> bool:
        return bool(_imported(node) & {"random"})

    assert {file for file in _files(_places(imports_random)) if not file.startswith("demo/")} == set()


def test_rules_are_pure() -> None:
    rules = [file for file in FILES if file.name == "rules.py"]
    assert len(rules) > 8
    impure = {"sqlalchemy", "pydantic", "litestar", "asyncio", "asyncpg", "msgspec", "httpx", "time"}

    def is_impure(node: ast.AST) -> bool:
        waits = isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
        return waits or bool(_imported(node) & impure)

    assert list(_places(is_impure, files=rules)) == []


def test_errors_name_no_http_status() -> None:
    errors = [file for file in FILES if file.name == "errors.py"]

    def names_status(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and type(node.value) is int and 400 <= node.value < 600

    assert list(_places(names_status, files=errors)) == []


def test_pydantic_and_litestar_stay_at_the_doors() -> None:
    def imports_web(node: ast.AST) -> bool:
        return bool(_imported(node) & {"litestar", "pydantic"})

    allowed = re.compile(r"(core/(?!errors).*|cli/.*|app|local|\w+/(routes|guards|(\w+_)?schemas|express|batches))\.py")
    assert {file for file in _files(_places(imports_web)) if not allowed.fullmatch(file)} == set()


def test_nothing_is_imported_inside_a_function() -> None:
    inside = [
        f"{_name(file)}:{node.lineno}"
        for file in FILES
        for function in ast.walk(_tree(file))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


def test_nothing_is_imported_for_type_checking_only() -> None:
    """The web framework and the ORM read annotations when they run."""

    def names_it(node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == "TYPE_CHECKING"

    assert list(_places(names_it)) == []


def test_nothing_prints() -> None:
    def prints(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "breakpoint"}
        )

    assert list(_places(prints)) == []


def test_no_file_is_too_long() -> None:
    lengths = {_name(file): len(file.read_text().splitlines()) for file in FILES if "migrations" not in file.parts}
    near = {name: lines for name, lines in sorted(lengths.items()) if lines > NEAR_THE_LIMIT}
    assert {name: lines for name, lines in near.items() if lines > LONGEST_FILE} == {}, f"near the limit: {near}"


def test_there_is_no_attic() -> None:
    assert [_name(file) for file in FILES if file.stem in {"utils", "helpers", "common", "base", "misc"}] == []


def test_every_room_says_what_it_is_for() -> None:
    rooms = [file for file in FILES if file.name == "__init__.py"]
    assert [_name(file) for file in rooms if not ast.get_docstring(_tree(file))] == []


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_the_two_commands(command: str) -> None:
    target = command.split()[1]
    assert command in (ROOT / "README.md").read_text()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_nothing_kept_names_a_place_on_somebodys_machine() -> None:
    kept = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    own = re.compile(rb"(?<![\w.-])/(?:home|Users|root|work)/[\w.-]+")
    named = {}
    for name in filter(None, kept):
        file = ROOT / name.decode()
        if file.is_file() and "swagger-ui" not in file.parts and (found := own.search(file.read_bytes())):
            named[name.decode()] = found.group().decode()
    assert named == {}
