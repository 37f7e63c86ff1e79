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

NativeCode code_of(py::object native) {
  const auto address = native.attr("address").cast<std::uintptr_t>();
  const auto bytes = native.attr("threadgroup_bytes").cast<std::size_t>();
  const bool is_quick = native.attr("is_quick").cast<bool>();
  return NativeCode{reinterpret_cast<void (*)(Threadgroup*)>(address), bytes, is_quick,
                    share(std::move(native))};
}

// What Python calls with better code. The GIL is let go, for whoever publishes may wait for a
// thread that translates.
py::object callable(Improve improve) {
  return py::cpp_function([improve = std::move(improve)](py::object native) {
    NativeCode code = code_of(std::move(native));
    const py::gil_scoped_release released;
    improve(std::move(code));
  });
}

}  // namespace

Translator make_translator(py::object translate) {
  return [translate = share(std::move(translate))](
             std::string_view kernel, std::span<const FunctionConstant> constants,
             Variant variant, Improve improve) {
    const py::gil_scoped_acquire gil;
    py::list values;
    for (const FunctionConstant& constant : constants) values.append(py::cast(constant));
    return code_of((*translate)(kernel, values, kVariantNames[std::size_t(variant)],
                                callable(std::move(improve))));
  };
}

}  // namespace metalgen
