"""Every operation of metalgen.ops on mps tensors, end to end through the Apple backend."""

from __future__ import annotations

import pytest
import torch
from apple.soft_mps import on_mps
from samples_of import every

from metalgen.ops.references import REFERENCES
from metalgen.ops.sample_table import samples
from metalgen.ops.samples import find_mismatch


@pytest.mark.parametrize("name", every(3, REFERENCES))
@on_mps
def test_an_operation_on_mps_is_pytorchs_in_float64(name):
    assert find_mismatch(samples(name)[0], torch.float32, device_type="mps") is None
