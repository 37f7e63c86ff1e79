"""Compilers that write Metal on any machine: what they write is run and compared.

A module with a `PROJECT` has `run(results, packages)`, which makes the generator write kernels,
runs them on the software device as the generator's own host would, and compares.
"""
