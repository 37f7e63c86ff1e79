"""Loops over a sequence that capture unrolled, found in the graph and computed by one kernel."""
