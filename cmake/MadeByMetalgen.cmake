# Files that metalgen's own compilers make while the wheel is built, so that its users need none.

set(package "${PROJECT_SOURCE_DIR}/python/metalgen")
set(run_module ${Python_EXECUTABLE} "${PROJECT_SOURCE_DIR}/cmake/run_module.py"
    "${PROJECT_SOURCE_DIR}/python")

# made_by_metalgen(<file name> <directory in the wheel> MODULE <python -m ...> [ARGUMENTS ...]
#                  SOURCES <what it depends on>)
function(made_by_metalgen output destination)
  cmake_parse_arguments(PARSE_ARGV 2 made "" "MODULE" "ARGUMENTS;SOURCES")
  set(path "${PROJECT_BINARY_DIR}/${output}")
  add_custom_command(
    OUTPUT "${path}"
    COMMAND ${run_module} ${made_MODULE} ${made_ARGUMENTS} "${path}"
    DEPENDS ${made_SOURCES}
    COMMENT "Making ${output} with ${made_MODULE}"
    VERBATIM)
  add_custom_target(make-${output} ALL DEPENDS "${path}")
  install(FILES "${path}" DESTINATION "${destination}")
endfunction()

# The kernel library: every .metal file in one metallib, for each version of Metal. Safe maths: NaN and infinity
# come out where PyTorch has them, and differences of large numbers are taken in the order written.
file(GLOB metal_kernels CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/metal/*.metal")
file(GLOB_RECURSE metal_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/metal/*"
     "${package}/compiler/*" "${package}/air/*.py")
list(FILTER metal_sources EXCLUDE REGEX "__pycache__")
include(cmake/MetalCompiler.cmake)
foreach(standard ${METAL_STANDARDS})
  made_by_metalgen(metalgen-${standard}.metallib metalgen/data
    MODULE metalgen.compiler
    ARGUMENTS ${metal_kernels} --standard ${standard} --math safe --signed -o
    SOURCES ${metal_sources})
  install(FILES "${PROJECT_BINARY_DIR}/metalgen-${standard}.json" DESTINATION metalgen/data)
endforeach()

# The software device's mathematical functions as bitcode.
file(GLOB_RECURSE runtime_sources CONFIGURE_DEPENDS "${package}/software/runtime/*")
list(FILTER runtime_sources EXCLUDE REGEX "__pycache__|maths[.]zip")
made_by_metalgen(maths.zip metalgen/software/runtime
  MODULE metalgen.software.runtime
  SOURCES ${runtime_sources})
