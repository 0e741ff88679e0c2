"""Two small runs that many tests look at or copy: one finished, one interrupted half-way."""

import shutil
from pathlib import Path

import pytest

import polyak
from tests.fixtures import small


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test's own, so that nothing is written into the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> polyak.Run:
    """A finished run, to be looked at only."""
    return small.train(tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture(scope="session")
def _stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    small.train_and_stop(folder, iteration=18)
    return folder


@pytest.fixture
def stopped(_stopped: Path, tmp_path: Path) -> Path:
    """The folder of a run that was interrupted, a copy for this test alone."""
    return shutil.copytree(_stopped, tmp_path / "stopped")
