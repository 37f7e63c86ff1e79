// Calls the translator under the GIL, from a dispatch that has released it.
#include "bindings/translator.h"

#include <pybind11/stl.h>

#include <array>

namespace py = pybind11;

namespace metalgen {
namespace {

// A Python object that may be dropped by a thread without the GIL.
std::shared_ptr<py::object> share(py::object object) {
  return {new py::object(std::move(object)), [](py::object* shared) {
            const py::gil_scoped_acquire gil;
            delete shared;
          }};
}

constexpr std::array<const char*, kVariants> kVariantNames = {"any", "rows", "full"};

}  // namespace

Translator make_translator(py::object translate) {
  return [translate = share(std::move(translate))](
             std::string_view kernel, std::span<const FunctionConstant> constants,
             Variant variant) {
    const py::gil_scoped_acquire gil;
    py::list values;
    for (const FunctionConstant& constant : constants) values.append(py::cast(constant));
    py::object native = (*translate)(kernel, values, kVariantNames[std::size_t(variant)]);
    const auto address = native.attr("address").cast<std::uintptr_t>();
    const auto bytes = native.attr("threadgroup_bytes").cast<std::size_t>();
    return NativeCode{reinterpret_cast<void (*)(Threadgroup*)>(address), bytes,
                      share(std::move(native))};
  };
}

}  // namespace metalgen
