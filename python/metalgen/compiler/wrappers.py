"""The function that stands for a kernel in AIR, and the constants that describe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metalgen.compiler.bindings import Parameter
from metalgen.compiler.kernels import Kernel
from metalgen.compiler.scopes import Source

KERNEL_SYMBOL = "__metalgen_kernel_"
SIGNATURE_SYMBOL = "__metalgen_signature_"
TYPE_SYMBOL = "__metalgen_type_"
FIELDS_SYMBOL = "__metalgen_fields_"
LAYOUT_SYMBOL = "__metalgen_layout_"
LIMIT_PREFIX = "__metalgen_limit_"
# Around everything but the wrappers. Sources define more functions than kernels call. Internal,
# the others are dropped at once, and not optimised each with all that it calls inlined.
INTERNAL = (
    ' _Pragma("clang attribute push(__attribute__((internal_linkage)), apply_to = function)") '
)
INTERNAL_END = ' _Pragma("clang attribute pop") '


@dataclass(frozen=True, slots=True)
class Entry:
    """One kernel of the metallib: `expression` names the function it calls."""

    number: int
    host_name: str
    kernel: Kernel
    expression: str
    start: int  # offset in the preprocessed text that errors are shown at
    max_threads: str | None
    parameters: tuple[str, ...] | None = None  # of an instantiation that lists them

    @property
    def key(self) -> str:
        """What the names of its description end in."""
        return str(self.number)

    @property
    def function(self) -> str:
        """The type of the function; by its parameters where they are listed, for overloads."""
        listed = self.parameters is not None
        return f"{SIGNATURE_SYMBOL}{self.number}" if listed else f"decltype({self.expression})"


def wrapper(entry: Entry) -> str:
    """A function of native types that calls the kernel, its type and fields as text, its layout.

    The layout lists size and alignment of what each parameter points to, then those indices that
    are expressions, then the limit on threads (0 for none).
    """
    count = range(len(entry.kernel.parameters))
    function, called, listed = entry.function, entry.expression, ""
    if entry.parameters is not None:
        listed = f" typedef void {function}({', '.join(entry.parameters)});"
        called = f"static_cast<{function}*>({entry.expression})"
    declared = ", ".join(f"::__metalgen::native_type<{i}, {function}> a{i}" for i in count)
    passed = ", ".join(f"::__metalgen::pass<{i}, {function}>(a{i})" for i in count)
    return (
        f'{listed} {INTERNAL_END}extern "C" void {KERNEL_SYMBOL}{entry.number}({declared})'
        f" {{ {called}({passed}); }}{INTERNAL}"
        f"{description(entry.key, function, entry.kernel.parameters, entry.max_threads or '0')}"
    )


def description(key: str, function: str, parameters: Sequence[Parameter], limit: str = "0") -> str:
    """The constants that describe a function type's parameters; their names end in `key`."""
    layout = "".join(
        f"::__metalgen::size_of<::__metalgen::argument_type<{i}, {function}>>(), "
        f"::__metalgen::alignment_of<::__metalgen::argument_type<{i}, {function}>>(), "
        for i in range(len(parameters))
    )
    for parameter in parameters:
        if parameter.binding.expression is not None:
            layout += f"(unsigned long)({parameter.binding.expression}), "
    return (
        f' extern "C" __constant const char* const __constant {TYPE_SYMBOL}{key} ='
        f" ::__metalgen::describe<{function}>();"
        f' extern "C" __constant const char* const __constant {FIELDS_SYMBOL}{key} ='
        f" ::__metalgen::describe<typename ::__metalgen::parameter_fields<{function}>::type>();"
        f' extern "C" const __constant unsigned long {LAYOUT_SYMBOL}{key}[] ='
        f" {{ {layout}(unsigned long)({limit}) }};"
    )


def template_limit(source: Source, kernel: Kernel) -> str:
    """A function template beside a kernel template, for a limit that depends on its parameters."""
    header = source.one_line(kernel.first, source.template_end(kernel.first))
    return (
        f"{header} constexpr unsigned long {LIMIT_PREFIX}{kernel.name}() "
        f"{{ return {kernel.max_threads}; }} "
    )


def limit_call(expression: str) -> str:
    """What asks `template_limit` for the limit of the instantiation `expression`, `ns::f<A, B>`."""
    name, bracket, arguments = expression.partition("<")
    path, colons, last = name.rpartition("::")
    return f"{path}{colons}{LIMIT_PREFIX}{last.strip()}{bracket}{arguments}()"
