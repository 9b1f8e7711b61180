"""Figures of single runs, their medians, and how they are written down."""

import json
import platform
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.cost import Usage
from benchmarks.load import Sample

LIMIT = "limit"
BASELINE = "baseline"
PRODUCT = "product"
OPEN_LOOP = ", open loop"
"""Ends the name of an operation whose rate was set, and so compares with nothing."""
LATEST = Path(__file__).with_name("latest.json")
LATEST_TEXT = LATEST.with_suffix(".txt")


@dataclass(frozen=True)
class Cell:
    """What one figure is about."""

    operation: str
    system: str
    clients: int
    workers: int | None = None


@dataclass(frozen=True)
class Run:
    """One window: requests a second, milliseconds each took, and CPU milliseconds for each."""

    rps: float
    p50_ms: float | None
    p99_ms: float | None
    errors: int
    server_cpu_ms: float | None
    database_cpu_ms: float | None
    clients_cpu_ms: float | None
    others_share: float


@dataclass(frozen=True)
class Figure:
    """Medians over the rounds of a cell; the shape of an element of `latest.json`."""

    operation: str
    system: str
    clients: int
    workers: int | None
    rps: float
    p50_ms: float | None
    p99_ms: float | None
    errors: int
    server_cpu_ms: float | None
    database_cpu_ms: float | None
    ratio_to_limit: float | None = None
    ratio_to_baseline: float | None = None


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the least value that at least this share of all do not exceed; None of none."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]


def read_run(sample: Sample, used: Usage, *, cores: int, serves: bool, times: int = 1) -> Run:
    """Divide what was used in a window by what was done in it: `times` by each request."""
    done = times * len(sample.latencies_ms)

    def each(seconds: float) -> float | None:
        return 1000 * seconds / done if done else None

    return Run(
        rps=done / sample.seconds if sample.seconds else 0.0,
        p50_ms=percentile(sample.latencies_ms, 0.50),
        p99_ms=percentile(sample.latencies_ms, 0.99),
        errors=sample.errors,
        server_cpu_ms=each(used.server) if serves else None,
        database_cpu_ms=each(used.database),
        clients_cpu_ms=each(used.clients),
        others_share=used.others / (cores * sample.seconds) if sample.seconds else 0.0,
    )


def figures(runs: Iterable[tuple[Cell, Run]]) -> list[Figure]:
    """Take the median of each cell's rounds, and the ratios to limit and baseline with as many clients."""
    by_cell: dict[Cell, list[Run]] = defaultdict(list)
    for cell, run in runs:
        by_cell[cell].append(run)
    rates = {cell: statistics.median(run.rps for run in own) for cell, own in by_cell.items()}
    against = {
        (cell.operation, cell.clients, cell.system): rate
        for cell, rate in rates.items()
        if not cell.operation.endswith(OPEN_LOOP)
    }
    found = []
    for cell, own in by_cell.items():
        low, by_hand = (against.get((cell.operation, cell.clients, system)) for system in (LIMIT, BASELINE))
        found.append(
            Figure(
                **asdict(cell),
                rps=round(rates[cell], 1),
                p50_ms=_median(run.p50_ms for run in own),
                p99_ms=_median(run.p99_ms for run in own),
                errors=sum(run.errors for run in own),
                server_cpu_ms=_median(run.server_cpu_ms for run in own),
                database_cpu_ms=_median(run.database_cpu_ms for run in own),
                ratio_to_limit=_ratio(rates[cell], low) if cell.system != LIMIT else None,
                ratio_to_baseline=_ratio(rates[cell], by_hand) if cell.system == PRODUCT else None,
            )
        )
    return found


def table(runs: Sequence[tuple[Cell, Run]]) -> list[str]:
    """Write the figures as lines, operation by operation; `spread` is (most - least) / median of the rounds' rates."""
    found, spreads, clients = figures(runs), _spreads(runs), _clients_cpu(runs)
    heads = "clients:8 req/s:9 spread:8 p50_ms:9 p99_ms:9 errors:8 server:9 database:10 clients:9 /limit:9 /baseline:11"
    widths = [head.split(":") for head in heads.split()]
    lines = ["system".ljust(12) + "".join(name.replace("_", " ").rjust(int(width)) for name, width in widths)]
    operations = list(dict.fromkeys(figure.operation for figure in found))
    for operation in operations:
        lines += ["", operation]
        own = [figure for figure in found if figure.operation == operation]
        for figure in sorted(own, key=lambda figure: figure.clients):
            cell = Cell(figure.operation, figure.system, figure.clients, figure.workers)
            system = f"{figure.system} x{figure.workers}" if figure.workers else figure.system
            lines.append(
                f"{system:<12}{figure.clients:>8}{figure.rps:>9.0f}{spreads[cell]:>8.0%}"
                f"{_written(figure.p50_ms, 1):>9}{_written(figure.p99_ms, 1):>9}{figure.errors:>8}"
                f"{_written(figure.server_cpu_ms, 2):>9}{_written(figure.database_cpu_ms, 2):>10}"
                f"{_written(clients[cell], 2):>9}"
                f"{_written(figure.ratio_to_limit, 3):>9}{_written(figure.ratio_to_baseline, 3):>11}"
            )
    return lines


def interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}"


def write(found: Sequence[Figure], lines: Sequence[str], *, folder: Path = LATEST.parent) -> None:
    """Keep the figures as `latest.json`, and what was printed as `latest.txt`."""
    rows = ",\n".join(f"  {json.dumps(asdict(figure))}" for figure in found)
    (folder / LATEST.name).write_text(f"[\n{rows}\n]\n")
    (folder / LATEST_TEXT.name).write_text("\n".join(lines) + "\n")


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 3) if known else None


def _ratio(rate: float, reference: float | None) -> float | None:
    return round(rate / reference, 4) if reference else None


def _written(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _spreads(runs: Sequence[tuple[Cell, Run]]) -> dict[Cell, float]:
    rates: dict[Cell, list[float]] = defaultdict(list)
    for cell, run in runs:
        rates[cell].append(run.rps)
    return {cell: (max(own) - min(own)) / (statistics.median(own) or 1.0) for cell, own in rates.items()}


def _clients_cpu(runs: Sequence[tuple[Cell, Run]]) -> dict[Cell, float | None]:
    used: dict[Cell, list[float | None]] = defaultdict(list)
    for cell, run in runs:
        used[cell].append(run.clients_cpu_ms)
    return {cell: _median(own) for cell, own in used.items()}
