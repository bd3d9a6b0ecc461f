"""Fixtures that several tests of data share."""

import shutil
from pathlib import Path

import pytest

from starprompt.data.prepare import prepare
from starprompt.data.store import PreparedDataset, open_prepared
from tests.helpers.loopback import serving
from tests.helpers.small_stream import SPEC


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory) -> Path:
    return prepare(SPEC, tmp_path_factory.mktemp("data"), workers=1)


@pytest.fixture(scope="session")
def digits(digits_folder) -> PreparedDataset:
    return open_prepared(digits_folder)


@pytest.fixture
def copied(digits_folder, tmp_path) -> Path:
    return Path(shutil.copytree(digits_folder, tmp_path / "prepared" / "digits"))


@pytest.fixture
def site(monkeypatch):
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running
