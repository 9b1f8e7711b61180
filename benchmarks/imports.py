"""How fast the demonstration's purchases are brought in, and how much memory that takes at most."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import product_environment
from loyalty.core.db import create_engine, create_sessions
from loyalty.core.settings import Settings
from loyalty.demo import program as demo
from loyalty.demo import purchases


@dataclass(frozen=True)
class Imported:
    orders: int
    seconds: float
    peak_mib: int

    @property
    def rps(self) -> float:
        return self.orders / self.seconds


def import_purchases(database_url: str, *, home: Path) -> Imported:
    """Import them in a process of its own, whose peak is the import's."""
    environment = {**product_environment(database_url), "LOYALTY_HOME": str(home)}
    command = [sys.executable, "-m", "benchmarks.imports"]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return Imported(**json.loads(said))


async def main() -> None:
    engine = create_engine(Settings())  # type: ignore[call-arg]  # from the environment
    began = time.perf_counter()
    await demo.prepare(create_sessions(engine), progress=lambda _: None)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mib = peak // (2**20 if sys.platform == "darwin" else 2**10)
    await engine.dispose()
    print(json.dumps({"orders": purchases.ORDERS, "seconds": took, "peak_mib": mib}))


if __name__ == "__main__":
    assert os.environ.get("LOYALTY_DATABASE_URL"), "the database is named by who starts this"
    asyncio.run(main())
