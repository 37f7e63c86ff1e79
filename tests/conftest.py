"""What all tests share."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _few_torch_threads():
    # Small tensors only: more threads would only fight with the workers of pytest-xdist.
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)
