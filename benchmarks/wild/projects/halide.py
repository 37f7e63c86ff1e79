"""What Halide's Metal code generator writes."""

from wild.generators.halide import PROJECT as PROJECT
