"""Regions on the Neural Engine beside templates and ATen, in half precision: needs a Mac.

    pip install 'metalgen[neural-engine]'
    python benchmarks/neural_engine.py

One line for each model and contender: microseconds, or why it is out. "neural engine" with a time
means that Core ML ran it and that its results passed the region's check.
"""

from __future__ import annotations

import torch
from torch import nn

import metalgen

MODELS = {
    "convolutions": (
        nn.Sequential(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 64, 1)),
        (8, 64, 56, 56),
    ),
    "feed forward": (
        nn.Sequential(nn.Linear(768, 3072), nn.GELU(), nn.Linear(3072, 768)),
        (512, 768),
    ),
}


def main() -> None:
    """Print what became of every region."""
    device = "mps" if torch.backends.mps.is_available() else "cpu"
    for name, (model, shape) in MODELS.items():
        model = model.eval().half().to(device)
        report = metalgen.explain(model, torch.randn(shape).half().to(device))
        for region in report.regions:
            for found in region.classes.values():
                print(f"{name}, {region.name}, {found.shape_class}: {found.choice}")
                for contender, us in sorted(found.us.items(), key=lambda each: each[1]):
                    print(f"  {contender:20} {us:10.0f} us")
                for reason in found.refused:
                    print(f"  {reason}")


if __name__ == "__main__":
    main()
