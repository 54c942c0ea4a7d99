from pathlib import Path

import pytest
from small_runs import write_run, write_store

from multigrain.data.store import Store


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(write_store(tmp_path_factory.mktemp("evaluation") / "planted.store"))


@pytest.fixture
def run(planted: Store, tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "mult" / "seed-0", "mult", planted)
