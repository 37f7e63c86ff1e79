"""What a kept run amounts to: figures, a page to read, a trace of its time."""

from metalgen.report.figures import Figures, figures_of
from metalgen.report.outcomes import Column, Outcome
from metalgen.report.summary import Summary, summarise

__all__ = ["Column", "Figures", "Outcome", "Summary", "figures_of", "summarise"]
