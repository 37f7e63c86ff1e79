// Turns the arguments of one launch, as Python hands them over, into a dispatch.
#pragma once

#include <pybind11/pybind11.h>

#include "device.h"

namespace metalgen {

// sources[i] is what [[buffer(i)]] gets: None (unbound), an address or buffer handle (int), a handle
// with a byte offset (tuple), or bytes. threadgroup_memory holds pairs (index, bytes).
void dispatch_sources(Pipeline& pipeline, const pybind11::tuple& sources,
                      const Geometry& geometry, const pybind11::tuple& threadgroup_memory);

}  // namespace metalgen
