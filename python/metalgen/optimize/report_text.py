"""A report as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from metalgen.optimize.report import ClassReport, GraphReport, RegionReport, Report

HEADINGS = ("region", "runs on", "share", "kernels", "metal us", "aten us", "operators", "why")


def lines(report: Report) -> Iterator[str]:
    """The report, line by line."""
    yield f"policy {report.policy}, {report.compilations} Metal compilations"
    if report.graphs:
        before, after = report.launches
        yield (
            f"in Metal: {report.flops_share:.1%} of the FLOPs, {report.operators_share:.1%} of the "
            f"operators; {before} operators became {after} launches"
        )
    if not report.graphs:
        yield "torch.compile captured no graph: it was not called, or Dynamo leaves it to eager"
    for number, graph in enumerate(report.graphs):
        yield from _graph(number, graph)


def _graph(number: int, graph: GraphReport) -> Iterator[str]:
    times = _times(graph.compiled_us, graph.eager_us, "compiled", "eager")
    yield f"graph {number}: {graph.choice} ({graph.reason}{times})"
    if len(graph.classes) > 1:
        for each in graph.classes.values():
            times = _times(each.compiled_us, each.eager_us, "compiled", "eager")
            yield f"  {each.shape_class}: {each.choice} ({each.reason}{times})"
    rows: list[tuple[str, ...]] = [HEADINGS]
    for region in graph.regions:
        rows.append(_row(region, graph.time_share(region)))
        if len(region.classes) > 1:
            rows += map(_class_row, region.classes.values())
    rows += [("-", "aten", "-", "-", "-", "-", name, why) for name, why in _counted(graph.left)]
    if len(rows) > 1:
        yield from _table(rows)
    yield from _left_out("the graph", graph.left_out)
    for region in graph.regions:
        yield from _left_out(region.name, region.left_out)


def _left_out(where: str, passes: Mapping[str, str]) -> Iterator[str]:
    for name, why in passes.items():
        yield f"  pass '{name}' was left out of {where}: {why}"


def _row(region: RegionReport, share: float | None) -> tuple[str, ...]:
    names = Counter(region.operators)
    operators = ", ".join(f"{n} x{count}" if count > 1 else n for n, count in names.items())
    times = [_number(region.metal_us), _number(region.aten_us)]
    percent = "-" if share is None else f"{share:.0%}"
    where = (region.name, region.choice, percent, str(region.kernels))
    (only,) = region.classes.values() if len(region.classes) == 1 else (None,)
    why = region.reason if only is None else _why(only)
    return (*where, *times, operators, why)


def _class_row(found: ClassReport) -> tuple[str, ...]:
    times = [_number(found.metal_us), _number(found.aten_us)]
    return ("", found.choice, "", "", *times, f"  {found.shape_class}", _why(found))


def _why(found: ClassReport) -> str:
    """The reason, the times of all contenders where there was more than one, and who was out."""
    others = {name: us for name, us in found.us.items() if name != "aten"}
    times = ", ".join(f"{name} {us:.0f} us" for name, us in sorted(others.items(), key=_time))
    joules = sorted(found.joules.items(), key=_time)
    energy = ", ".join(f"{name} {1e3 * each:.3g} mJ" for name, each in joules)
    times += f"; {energy}" if energy else ""
    parts = [found.reason, *([times] if len(others) > 1 or energy else []), *found.refused]
    return "; ".join(parts)


def _time(pair: tuple[str, float]) -> float:
    return pair[1]


def _counted(left: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for (name, reason), count in Counter(left).items():
        yield f"{name} x{count}" if count > 1 else name, reason


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _times(first: float | None, second: float | None, one: str, other: str) -> str:
    if first is None or second is None:
        return ""
    return f"; {one} {first:.0f} us, {other} {second:.0f} us"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()
