"""One bundle, written once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from neurodeploy.targets.spinnaker2.bundle.jobs import selftest_job
from neurodeploy.targets.spinnaker2.bundle.writing import write_bundle
from tests.targets.spinnaker2.bundle.network import MACHINE, job


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "bundle"
    write_bundle(job(), selftest_job(), MACHINE, folder)
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))
