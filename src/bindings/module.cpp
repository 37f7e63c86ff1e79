// metalgen._core: the devices as Python sees them; _core.pyi describes the same.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "apple/apple_device.h"
#include "bindings/signature.h"
#include "bindings/sources.h"
#include "bindings/translator.h"
#include "device.h"
#include "errors.h"
#include "software/software_device.h"

namespace py = pybind11;

namespace metalgen {
namespace {

void bind_errors() {
  py::register_exception_translator([](std::exception_ptr pointer) {
    const auto raise = [](const char* name, const std::exception& error) {
      py::set_error(py::module_::import("metalgen.errors").attr(name), error.what());
    };
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const LaunchError& error) {
      raise("LaunchError", error);
    } catch (const ToolchainError& error) {
      raise("ToolchainError", error);
    }
  });
}

void bind_geometry(py::module_& module) {
  py::class_<Geometry>(module, "Geometry")
      .def_static("of_threads", &Geometry::of_threads, py::arg("threads"), py::arg("group_size"))
      .def_static("of_threadgroups", &Geometry::of_threadgroups, py::arg("groups"),
                  py::arg("group_size"))
      .def_readonly("grid", &Geometry::grid)
      .def_readonly("group_size", &Geometry::group_size)
      .def_readonly("groups", &Geometry::groups);
}

void bind_pipeline(py::module_& module) {
  py::class_<Pipeline, std::shared_ptr<Pipeline>>(module, "Pipeline")
      .def_property_readonly("max_total_threads", &Pipeline::max_total_threads)
      .def("dispatch", &dispatch_sources, py::arg("sources"), py::arg("geometry"),
           py::arg("threadgroup_memory") = py::tuple());
}

void bind_library(py::module_& module) {
  py::class_<FunctionConstant>(module, "FunctionConstant")
      .def(py::init([](std::uint32_t index, std::string type_name,
                       std::variant<Scalar, std::vector<Scalar>> value) {
             if (Scalar* scalar = std::get_if<Scalar>(&value)) value = std::vector{*scalar};
             return FunctionConstant{index, std::move(type_name),
                                     std::get<std::vector<Scalar>>(std::move(value))};
           }),
           py::arg("index"), py::arg("type_name"), py::arg("value"))
      .def_readonly("index", &FunctionConstant::index)
      .def_readonly("type_name", &FunctionConstant::type_name)
      .def_property_readonly("value", [](const FunctionConstant& constant) -> py::object {
        const std::vector<Scalar>& components = constant.components;
        if (components.size() == 1) return py::cast(components[0]);
        return py::tuple(py::cast(components));
      });
  py::class_<Library, std::shared_ptr<Library>>(module, "Library")
      .def("pipeline", &Library::pipeline, py::arg("kernel"),
           py::arg("constants") = std::vector<FunctionConstant>(), py::keep_alive<0, 1>(),
           py::call_guard<py::gil_scoped_release>());
}

std::span<const std::byte> span_of(const py::bytes& bytes) {
  const std::string_view view = bytes;
  return std::as_bytes(std::span(view.data(), view.size()));
}

void bind_buffer(py::module_& module) {
  py::class_<Buffer>(module, "Buffer", py::buffer_protocol())
      .def_property_readonly("handle", &Buffer::handle)
      .def_buffer([](Buffer& buffer) {
        const std::span<std::byte> bytes = buffer.bytes();
        return py::buffer_info(reinterpret_cast<std::uint8_t*>(bytes.data()),
                               static_cast<py::ssize_t>(bytes.size()));
      });
}

std::unique_ptr<Buffer> wrap(Device& device, std::uintptr_t address, std::size_t bytes) {
  return device.wrap({reinterpret_cast<std::byte*>(address), bytes});
}

std::shared_ptr<Library> load(Device& device, const py::bytes& metallib, py::object translate) {
  const std::span<const std::byte> bytes = span_of(metallib);
  Translator translator = make_translator(std::move(translate));
  const py::gil_scoped_release released;
  return device.load(bytes, std::move(translator));
}

// `work` may release and take the GIL itself.
std::pair<double, double> time(Device& device, const py::function& work) {
  const py::gil_scoped_release released;
  const Interval interval = device.time([&] {
    const py::gil_scoped_acquire acquired;
    work();
  });
  return {interval.start, interval.end};
}

void bind_device(py::module_& module) {
  py::class_<Device>(module, "Device")
      .def_property_readonly("name", &Device::name)
      .def_property_readonly("family", &Device::family)
      .def("wrap", &wrap, py::arg("address"), py::arg("bytes"), py::keep_alive<0, 1>())
      .def("allocate", &Device::allocate, py::arg("bytes"), py::keep_alive<0, 1>())
      .def("load", &load, py::arg("metallib"), py::arg("translate"), py::keep_alive<0, 1>())
      .def("run", &run_launches, py::arg("launches"), py::arg("waits"))
      .def("time", &time, py::arg("work"))
      .def("synchronize", &Device::synchronize, py::call_guard<py::gil_scoped_release>());
  module.def("software_device", &make_software_device, py::arg("threads"));
  module.def("has_apple_device", &has_apple_device);
  module.def("apple_device", &make_apple_device, py::arg("torch_library"));
}

}  // namespace
}  // namespace metalgen

PYBIND11_MODULE(_core, module) {
  module.doc() = "Devices that run Metal kernels.";
  metalgen::bind_errors();
  metalgen::bind_geometry(module);
  metalgen::bind_pipeline(module);
  metalgen::bind_library(module);
  metalgen::bind_signature(module);
  metalgen::bind_buffer(module);
  metalgen::bind_device(module);
}
