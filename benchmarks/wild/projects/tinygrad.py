"""What tinygrad's Metal renderer writes."""

from wild.generators.tinygrad import PROJECT as PROJECT
