"""Whole models with random weights: what `metalgen.optimize_for_metal` is tried on."""
