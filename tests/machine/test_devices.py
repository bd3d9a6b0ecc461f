"""Choosing and describing the device."""

import os

import pytest
import torch

from starprompt.errors import UserError
from starprompt.machine import devices


def test_auto_is_cuda_only_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert devices.pick_device("auto").type == expected
    assert devices.pick_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device: cuda"):
        devices.pick_device("cuda")
    with pytest.raises(UserError, match="did you mean 'cuda'"):
        devices.pick_device("cude")


def test_the_description_names_type_and_threads() -> None:
    about = devices.describe_device(torch.device("cpu"))
    assert about["type"] == "cpu" and about["name"]
    assert about["threads"] == torch.get_num_threads()


def test_peak_memory_of_the_cpu_is_in_bytes_and_only_grows() -> None:
    before = devices.peak_memory_bytes(torch.device("cpu"))
    block = bytearray(os.urandom(1) * (before + 32 * 2**20))
    after = devices.peak_memory_bytes(torch.device("cpu"))
    assert after - before > 16 * 2**20
    del block
    assert devices.peak_memory_bytes(torch.device("cpu")) >= after


def test_threads_must_be_positive() -> None:
    with pytest.raises(UserError, match="at least 1"):
        devices.use_threads(0)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_of_one_test_are_not_the_next_one_s(threads: int) -> None:
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"]) == 1
    devices.use_threads(threads)
    assert torch.get_num_threads() == threads
