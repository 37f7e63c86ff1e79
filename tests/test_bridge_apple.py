"""What can be held against Apple's side without a Mac: declarations, macOS objects, symbols."""

from __future__ import annotations

import functools
import re
import struct
import subprocess

import pytest
from apple.protocols import read_protocols

from apple import build, references, soft_mps

METAL = (build.HERE / "include" / "Metal" / "Metal.h").read_text()
MACOS = ("-target", "aarch64-macos.14.0", "-fobjc-arc", "-fblocks", "-std=c++20")
# A library that leaves all it needs to whoever loads it: libc++ for macOS takes a minute to build.
ALONE = ("-shared", "-nostdlib", "-undefined", "dynamic_lookup")
SANITIZED = "-fno-sanitize=all"
INCLUDES = (f"-I{build.HERE / 'include'}", f"-I{build.ROOT / 'src'}")

# Of NSObject, or too plain for PyObjC to say anything about: an object or nothing goes in and out.
PLAIN = {"v16@0:8", "@16@0:8"}

# What the backend may need of the system beyond the C and C++ libraries.
SYSTEM = {
    "_MTLCreateSystemDefaultDevice": "Metal",
    "_OBJC_CLASS_$_MTLFunctionConstantValues": "Metal",
    "_OBJC_CLASS_$_NSString": "Foundation",
    "_dispatch_sync": "libdispatch",
    "_dispatch_data_create": "libdispatch",
    "__dispatch_data_destructor_free": "libdispatch",
    "_dlopen": "dyld",
    "_dlsym": "dyld",
    "_dlerror": "dyld",
    "_getenv": "libSystem",
    "__NSConcreteStackBlock": "libSystem",
    "__NSConcreteGlobalBlock": "libSystem",
    "__Block_object_assign": "libSystem",
    "__Block_object_dispose": "libSystem",
    "_memcpy": "libSystem",
    "_memmove": "libSystem",
    "_memcmp": "libSystem",
    "_memset": "libSystem",
    "_bzero": "libSystem",
    "_strlen": "libSystem",
}


def for_macos(*arguments):
    command = [*build.zig("c++")[:3], "c++", *MACOS, SANITIZED, *INCLUDES, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@functools.cache
def pyobjc():
    return references.pyobjc()


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """Every method that our Metal.h declares, by protocol, as clang encodes it for macOS."""
    directory = tmp_path_factory.mktemp("protocols")
    names = re.findall(r"^@protocol (\w+) <", METAL, re.MULTILINE)
    listed = ", ".join(f"@protocol({name})" for name in names)
    source = directory / "protocols.mm"
    source.write_text(
        "#import <Metal/Metal.h>\n"
        f'extern "C" __attribute__((visibility("default"))) Protocol* const all[] = {{{listed}}};\n'
    )
    for_macos(*ALONE, source, "-o", directory / "out.dylib")
    protocols = read_protocols(directory / "out.dylib")
    return {name: protocols[name] for name in names}


def normal(encoding: str) -> str:
    """Without the names of structs, the digits of stack offsets and protocol names."""
    return re.sub(r'@"[^"]*"', "@", re.sub(r"\{\w+=", "{?=", encoding))


def parts(encoding: str) -> dict[int, str]:
    """The types by position: -1 the result, 0 and 1 the receiver and the selector."""
    types = re.findall(r"((?:r|\^)*(?:\{[^}]*\}|@\?|[a-zA-Z@:#*?]))\d+", normal(encoding))
    return dict(enumerate(types, start=-1))


def test_every_declared_method_is_pyobjcs(declared):
    wrong, unknown = [], set()
    for protocol, methods in declared.items():
        for selector, encoding in methods.items():
            compiled = pyobjc().protocols.get(protocol, {}).get(selector)
            registered = pyobjc().registered.get(selector)
            if compiled is not None:
                if normal(compiled) != normal(encoding):
                    wrong.append((protocol, selector, encoding, compiled))
            elif registered is not None:
                ours = parts(encoding)
                wrong += [
                    (protocol, selector, position, ours.get(position), type)
                    for position, type in registered.items()
                    if normal(type).replace("Z", "B") != ours.get(position, "").lstrip("r")
                ]
            elif encoding not in PLAIN:
                unknown.add((selector, encoding))
    assert not wrong
    assert not unknown


def test_every_constant_has_pyobjcs_value():
    values = dict(re.findall(r"^  (MTL\w+) = ([^,]+),$", METAL, re.MULTILINE))
    assert len(values) > 10
    for name, value in values.items():
        left, _, shift = value.partition("<<")
        assert pyobjc().constants[name] == int(left) << int(shift or 0), name


def test_a_wrong_declaration_would_be_noticed():
    known = pyobjc().protocols["MTLComputeCommandEncoder"]["setBytes:length:atIndex:"]
    assert normal(known) != "v40@0:8^v16Q24Q32"
    assert parts(known) == {-1: "v", 0: "@", 1: ":", 2: "r^v", 3: "Q", 4: "Q"}


def test_every_declared_method_is_metal_cpps(declared):
    known = references.metal_cpp()
    for methods in declared.values():
        for selector, encoding in methods.items():
            if selector in known:
                signature = known[selector]
                inside = signature[signature.index("(") + 1 : signature.rindex(")")]
                count = len(re.split(r",(?![^(]*\))", inside)) if inside.strip() else 0
                assert count == selector.count(":"), (selector, signature)
                assert (encoding[0] == "v") == signature.startswith("void "), (selector, signature)
    missing = {s for methods in declared.values() for s in methods} - set(known)
    assert missing <= {"newFunctionWithName:constantValues:error:"} | OF_FOUNDATION, missing


# Declared by metal-cpp's classes for Foundation or inherited from their bases.
OF_FOUNDATION = {"name", "device", "length"}


@pytest.fixture(scope="module")
def macos_objects(tmp_path_factory):
    """The backend compiled for arm64, as strictly as on Linux."""
    directory = tmp_path_factory.mktemp("macos")
    objects = [directory / f"{source.stem}.o" for source in build.BACKEND]
    for source, out in zip(build.BACKEND, objects, strict=True):
        for_macos("-Wall", "-Wextra", "-Werror", "-O2", "-c", source, "-o", out)
    return objects


@pytest.fixture(scope="module")
def macos_symbols(macos_objects):
    """What the backend expects from others."""
    return set().union(*map(undefined_symbols, macos_objects))


def exported(library: bytes) -> set[str]:
    """The names that a Mach-O library defines for others."""
    at, found = 32, set()
    for _ in range(struct.unpack_from("<I", library, 16)[0]):
        command, size = struct.unpack_from("<II", library, at)
        if command == 2:  # LC_SYMTAB
            symbols, count, strings, _ = struct.unpack_from("<4I", library, at + 8)
            for name, kind, section, _, _ in struct.iter_unpack(
                "<IBBHQ", library[symbols : symbols + 16 * count]
            ):
                if section and kind & 1 and not kind & 0xE0:  # external, in a section, no debug
                    start = strings + name
                    found.add(library[start : library.index(b"\0", start)].decode())
        at += size
    return found


def test_the_backend_links_for_arm64_macos(macos_objects, tmp_path):
    for_macos(*ALONE, *macos_objects, "-o", tmp_path / "backend.dylib")
    data = (tmp_path / "backend.dylib").read_bytes()
    magic, processor, _, kind = struct.unpack_from("<4I", data)
    assert (magic, processor, kind) == (0xFEEDFACF, 0x0100000C, 6)  # 64 bits, arm64, a dylib
    assert any("make_apple_device" in name for name in exported(data))


def undefined_symbols(path):
    """The names that a Mach-O file expects from others."""
    data = path.read_bytes()
    at, found = 32, set()
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size = struct.unpack_from("<II", data, at)
        if command == 2:  # LC_SYMTAB
            symbols, count, strings, _ = struct.unpack_from("<4I", data, at + 8)
            for index in range(count):
                name, kind, section, _, _ = struct.unpack_from("<IBBHQ", data, symbols + 16 * index)
                if section == 0 and kind & 0x0E == 0 and not kind & 0xE0:
                    start = strings + name
                    found.add(data[start : data.index(b"\0", start)].decode())
        at += size
    return found


def test_the_backend_needs_only_what_macos_14_has(macos_symbols):
    known = r"__Z|___cxa_|___gxx|__Unwind|_objc_|__objc_|___CFConstantString|___stack_chk"
    assert {name for name in macos_symbols - set(SYSTEM) if not re.match(known, name)} == set()
    assert {"_dispatch_sync", "_MTLCreateSystemDefaultDevice"} <= macos_symbols


def test_the_backend_names_no_torch_symbol_at_link_time(macos_symbols):
    # One build must serve every torch: its functions are looked up by name when they are needed.
    assert not {name for name in macos_symbols if re.search("torch3mps|2at3mps|c10", name)}


def test_torchs_functions_are_spelled_as_its_headers_mangle_them(tmp_path):
    looked_up = re.findall(r'"(_ZN\w+)"', (build.ROOT / "src/apple/torch_stream.mm").read_text())
    source = tmp_path / "names.cpp"
    source.write_text(
        "namespace torch::mps { void* get_dispatch_queue(); void* get_command_buffer();"
        " void synchronize(); }\n"
        "namespace at::mps { struct MPSStream { void* commandEncoder();"
        " void endKernelCoalescing(); }; MPSStream* getCurrentMPSStream(); }\n"
        "void* all() { torch::mps::synchronize(); torch::mps::get_dispatch_queue();"
        " torch::mps::get_command_buffer(); at::mps::getCurrentMPSStream()->endKernelCoalescing();"
        " return at::mps::getCurrentMPSStream()->commandEncoder(); }\n"
    )
    assembly = tmp_path / "names.s"
    target = ("--target=arm64-apple-macos14", "-std=c++20", "-S", str(source), "-o", str(assembly))
    subprocess.run([*build.zig("clang"), *target], check=True)
    called = set(re.findall(r"_(_ZN(?:5torch|2at)\w+)", assembly.read_text()))
    assert set(looked_up) == called


CHECKERS = "-analyzer-checker=core,cplusplus,osx.cocoa,nullability"
LEAKY = """
#import <Foundation/Foundation.h>
int length_of(const char* text) {
  NSString* copy = [[NSString alloc] initWithBytes:text length:1 encoding:NSUTF8StringEncoding];
  return copy.length;
}
"""


def analysed(source, out, *flags) -> str:
    """What clang's static analyser, its Cocoa checkers included, says of a file."""
    flags = [flag for flag in (*build.OBJECTIVE_CPP, *flags) if flag != "-Werror"]
    analyse = ("--analyze", "--analyzer-output", "text", "-Xclang", CHECKERS)
    command = [*build.zig("clang"), *flags, *analyse, str(source), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("source", build.BACKEND, ids=lambda path: path.name)
def test_the_static_analyser_finds_nothing(source, tmp_path):
    soft_mps.need_linux()
    assert analysed(source, tmp_path / "out", build.ARC) == ""


def test_the_static_analyser_would_find_a_leak(tmp_path):
    soft_mps.need_linux()
    (tmp_path / "leaky.mm").write_text(LEAKY)
    found = analysed(tmp_path / "leaky.mm", tmp_path / "out")  # without ARC
    assert "Potential leak of an object stored into 'copy' [osx.cocoa.RetainCount]" in found
