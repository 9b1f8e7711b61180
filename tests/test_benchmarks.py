"""How figures of the benchmarks come about; nothing here measures."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.cost import Usage
from benchmarks.limit import SPEND, Limit
from benchmarks.load import Sample
from benchmarks.operations import OPERATIONS
from benchmarks.report import BASELINE, LATEST, LIMIT, PRODUCT, Cell, Figure, Run, figures, percentile, read_run, write


def run(rps: float, *, p50_ms: float = 1.0, errors: int = 0) -> Run:
    return Run(rps, p50_ms, 2 * p50_ms, errors, 0.5, 0.25, 0.1, 0.0)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7.0], 0.99, 7.0), ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0), (list(range(1, 101)), 0.99, 99)],
)
def test_a_percentile_is_the_least_value_that_covers_its_share(
    values: list[float], share: float, expected: float | None
) -> None:
    assert percentile(values, share) == expected


def test_ratios_compare_medians_with_as_many_clients() -> None:
    found = figures(
        [
            (Cell("order", LIMIT, 8), run(1000)),
            (Cell("order", BASELINE, 8, 1), run(400)),
            (Cell("order", PRODUCT, 8, 2), run(100, p50_ms=3.0, errors=1)),
            (Cell("order", PRODUCT, 8, 2), run(900, p50_ms=1.0)),
            (Cell("order", PRODUCT, 8, 2), run(200, p50_ms=2.0, errors=2)),
            (Cell("order", PRODUCT, 1, 1), run(50)),
        ]
    )
    assert [(one.ratio_to_limit, one.ratio_to_baseline) for one in found] == [
        (None, None),
        (0.4, None),
        (0.2, 0.5),
        (None, None),
    ]
    assert (found[2].rps, found[2].p50_ms, found[2].errors) == (200, 2.0, 3)


def test_cpu_is_divided_by_what_was_done() -> None:
    used = Usage(server=1.0, database=0.5, clients=0.1, machine=2.0)
    measured = read_run(Sample([1.0, 2.0, 3.0, 4.0], seconds=2.0), used, cores=2, serves=True)
    assert (measured.rps, measured.server_cpu_ms, measured.database_cpu_ms) == (2.0, 250.0, 125.0)
    assert measured.others_share == pytest.approx(0.1)
    assert read_run(Sample([], seconds=2.0), used, cores=2, serves=False).server_cpu_ms is None


def test_what_is_kept_has_the_promised_shape(tmp_path: Path) -> None:
    write(figures([(Cell("order", LIMIT, 1), run(1000))]), ["a line"], folder=tmp_path)
    promised = "operation system clients workers rps p50_ms p99_ms errors server_cpu_ms database_cpu_ms".split()  # noqa: SIM905
    promised += ["ratio_to_limit", "ratio_to_baseline"]
    assert [own.name for own in fields(Figure)] == promised
    for text in ((tmp_path / "latest.json").read_text(), LATEST.read_text()):
        assert all(list(row) == promised for row in json.loads(text))


def test_the_limit_is_the_same_with_and_without_pgbench() -> None:
    limit = Limit(("SELECT :key + :keys::int",), {"key": (1, 2), "keys": (3, 4)})
    assert limit.script() == "\\set key random(1, 2)\n\\set keys random(3, 4)\nSELECT :key + :keys::int;\n"
    assert limit.prepared() == [("SELECT $1 + $2::int", ["key", "keys"])]
    assert [names for _, names in SPEND.prepared()] == [["wallet", "hold"], ["wallet", "hold"]]


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
