from collections.abc import Iterator
from pathlib import Path

import pytest

from loyalty.core.embedded import remove


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home for a PostgreSQL of the test's own, which may be killed or told to forget."""
    home = tmp_path / "home"
    yield home
    remove(home)
