"""From clang's words to Metal's: address spaces, type names, and names the rewriting made up."""

from __future__ import annotations

import re

_SPACES = {
    "__global": "device",
    "__local": "threadgroup",
    "__constant": "constant",
    "__private": "thread",
}
_SPACE = re.compile(r"\b(__global|__local|__constant|__private)\b")
_GENERIC = re.compile(r"\b__generic\b\s*")
_SCALARS = (
    (re.compile(r"\bunsigned (char|short|int)\b"), r"u\1"),
    (re.compile(r"\bunsigned long(?: long)?\b"), "ulong"),
    (re.compile(r"\bunsigned\b(?! )"), "uint"),
    (re.compile(r"\bsigned char\b"), "char"),
    (re.compile(r"\b__bf16\b"), "bfloat"),
    (re.compile(r"\b_Bool\b"), "bool"),
    (re.compile(r"\b_Float16\b"), "half"),
)
_VECTORS = (
    (re.compile(r"\b(?:metal::)?vec<(\w+), (\d)>"), r"\1\2"),
    (re.compile(r"\b(?:metal::)?packed_vec<(\w+), (\d)>"), r"packed_\1\2"),
    (re.compile(r"\b(?:metal::)?matrix<(\w+), (\d), (\d)>"), r"\1\2x\3"),
    (re.compile(r"\b(?:metal::)?_?atomic<(\w+)>"), r"atomic_\1"),
)
# Names that the rewriting makes of the user's: the user's own are within.
_MADE_UP = (
    (re.compile(r"'[^']*\b__metalgen_tag_\w+' \(aka '([^']*)'\)"), r"'\1'"),
    (re.compile(r"__metalgen_name\b|\b__metalgen_limit_"), ""),
    (re.compile(r"\b__metalgen_tag_\d+_(\w+?)(?:_t)?\b"), r"\1"),
)


def metal_types(text: str) -> str:
    """`text` with types and address spaces named as Metal names them."""
    text = _SPACE.sub(lambda found: _SPACES[found[1]], text)
    text = _GENERIC.sub("", text)
    for pattern, name in (*_SCALARS, *_VECTORS):
        text = pattern.sub(name, text)
    return _with_own_names(text)


_ADDRESS_SPACES = {"global": "device", "local": "threadgroup", "private": "thread"}
_ADDRESS_SPACE = re.compile(r"\b(global|local|private)(?= address space)")
_LANGUAGE = re.compile(
    r"C\+\+ for OpenCL(?: version \S+)?|OpenCL C(?: version \S+)?|OpenCL(?: kernel)?"
)
# Names of what is not there, with what it is called in the refusal.
_UNSUPPORTED = (
    ("textures", r"(?:texture|depth)\d?\w*"),
    ("samplers", r"sampler"),
    (
        "ray tracing",
        r"raytracing|acceleration_structure|intersector|intersection_\w+|"
        r"instance_acceleration_structure|primitive_acceleration_structure|triangle_data|"
        r"(?:metal::)?raytracing::\w+",
    ),
    ("tensors", r"mpp|tensor_\w+|cooperative_tensor|dextents"),
    ("image blocks", r"imageblock\w*|(?:r|rg|rgba)\d+(?:unorm|snorm)|srgba8unorm|rgb10a2|rg11b10f"),
    ("visible functions", r"visible_function_table"),
    ("command buffers", r"command_buffer|render_command|compute_command|\w+_pipeline_state"),
    ("mesh functions", r"mesh_grid_properties"),
    ("asynchronous copies", r"simdgroup_event"),
    ("graphics functions", r"dfd[xy]|fwidth|discard_fragment|get_(?:num_samples|sample_position)"),
)
_HEADER_NOT_FOUND = re.compile(r"^'((?:MetalPerformancePrimitives|mpp)[^']*)' file not found")
_UNKNOWN = r"(?:no template named|unknown type name|use of undeclared identifier|no type named) "
# Names that a source may well use for something else of its own.
_UNSUPPORTED_TYPES = (
    ("graphics functions", r"vertex|fragment"),
    ("ray tracing", r"ray|ray_data"),
    ("mesh functions", r"mesh|object_data"),
    ("tensors", r"tensor|extents"),
)
_UNSUPPORTED_NAMES = tuple(
    (re.compile(rf"^{unknown}'((?:metal::)?(?:{names}))'.*"), rf"not supported: {what} ('\1')")
    for unknown, table in (
        (_UNKNOWN, _UNSUPPORTED),
        (r"(?:no template named|unknown type name) ", _UNSUPPORTED_TYPES),
    )
    for what, names in table
)
_QUOTED = re.compile(r"'([^']*)'")
_SWIZZLE = re.compile(r"'__vec\d[^']*' \(aka ('[^']*')\)")
_AKA = re.compile(r"'([^']*)' \(aka '\1'\)")

# What the headers call clang's vector, and the functions behind Metal's atomic ones.
_NATIVE = re.compile(r"'__native' \(aka '(?:typename )?__metal_storage<(\w+), (\d)>::type'\)")
_ATOMIC = re.compile(r"\b__air_(atomic_\w+)")
# What clang suggests for a name that was made up is nothing the user could have meant.
_GUESS = re.compile(r"('\w*__metalgen_name'); did you mean '[^']*'\?")
# Where Metal's compiler has words of its own for what is wrong.
_METALS_WORDS = (
    (
        re.compile(r"^cannot use '(throw|try)' with exceptions disabled"),
        r"'\1' is not supported in Metal",
    ),
    (re.compile(r"^'default (new|delete)' is not supported"), r"'\1' is not supported"),
    (
        re.compile(r"^static local variable must reside in constant address space"),
        "variables in function scope cannot be declared static",
    ),
    (re.compile(r"^blocks support disabled.*"), "blocks are not supported in Metal"),
    (re.compile(r"\ban Metal\b"), "a Metal"),
)


def is_refusal(message: str) -> bool:
    """Whether a message refuses by its name what Metal has and metalgen has not."""
    return message.startswith("not supported: ")


def metal_message(text: str) -> str:
    """One of clang's messages in Metal's words."""
    text = _GUESS.sub(r"\1", text)
    text = _ATOMIC.sub(r"\1_explicit", metal_types(text))
    text = _QUOTED.sub(lambda found: f"'{_without_thread(found[1])}'", text)
    if found := _NATIVE.search(text):
        vector = f"'{found[1]}{found[2]}'"
        text = text.replace(found[0], vector).replace("'__native'", vector)
    text = _AKA.sub(r"'\1'", _SWIZZLE.sub(r"\1", text))
    for pattern, refusal in _UNSUPPORTED_NAMES:
        text = pattern.sub(refusal, text)
    text = _HEADER_NOT_FOUND.sub(r"not supported: tensors ('\1')", text)
    text = _ADDRESS_SPACE.sub(lambda found: _ADDRESS_SPACES[found[1]], text)
    text = _LANGUAGE.sub("Metal", text)
    for pattern, words in _METALS_WORDS:
        text = pattern.sub(words, text)
    return text


def is_made_up(text: str) -> bool:
    """Whether one of clang's messages is about what the rewriting has added."""
    return "__metalgen" in _with_own_names(text)


def _with_own_names(text: str) -> str:
    for pattern, replacement in _MADE_UP:
        text = pattern.sub(replacement, text)
    return text


def _without_thread(type_text: str) -> str:
    """Everything on the stack is in the thread address space; only of pointees it is news."""
    type_text = re.sub(r"([*&]) ?thread\b", r"\1", type_text)
    if "*" not in type_text and "&" not in type_text:
        type_text = re.sub(r"^((?:const |volatile )*)thread (?=\S)", r"\1", type_text)
    return type_text
