"""Apple's GPUs: what is known of each chip, from where, and how fast it would do given work."""

from metalgen.chips.database import (
    Chip,
    Figure,
    Source,
    all_chips,
    find_chip,
    recognise,
    sources,
)
from metalgen.chips.neural import predict_neural_engine
from metalgen.chips.roofline import Estimate, Work, predict

__all__ = [
    "Chip",
    "Estimate",
    "Figure",
    "Source",
    "Work",
    "all_chips",
    "find_chip",
    "predict",
    "predict_neural_engine",
    "recognise",
    "sources",
]
