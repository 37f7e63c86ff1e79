"""What AOTAutograd knows of the graph that is being compiled."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule


def captured_metadata() -> Any:
    """AOTAutograd's own record of the graph, None while none is compiled."""
    context = torch._guards.TracingContext.try_get()
    return None if context is None else context.fw_metadata


def static_placeholders(module: GraphModule) -> frozenset[str]:
    """Placeholders whose memory stays from call to call: parameters and buffers."""
    known = captured_metadata()
    static = set(known.static_input_indices or ()) if known is not None else set()
    placeholders = module.graph.find_nodes(op="placeholder")
    return frozenset(node.name for i, node in enumerate(placeholders) if i in static)


def changed_inputs() -> frozenset[int]:
    """Positions of the inputs that the graph changes."""
    known = captured_metadata()
    inputs = () if known is None else known.input_info
    return frozenset(
        i for i, info in enumerate(inputs) if info.mutates_data or info.mutates_metadata
    )
