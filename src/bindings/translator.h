// Lets a Python callable translate kernels for the software device.
#pragma once

#include <pybind11/pybind11.h>

#include "device.h"

namespace metalgen {

// `translate(kernel, constants, variant, improve)` returns an object with `address`,
// `threadgroup_bytes` and `is_quick` (metalgen.software.NativeKernel), kept alive as long as its
// code may run; it may later call `improve` with another one.
Translator make_translator(pybind11::object translate);

}  // namespace metalgen
