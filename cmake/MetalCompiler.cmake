# Which compiler makes the kernel library, and for which versions of Metal.
#
# On macOS it is Apple's, of Xcode: METAL_STANDARDS is then what that Xcode can compile. Whoever has
# no Xcode may ask for metalgen's own with METALGEN_COMPILER=clang; the metallibs are marked as such.
# Elsewhere metalgen's own makes the one metallib that its software device runs.

set(METAL_STANDARDS metal3.1)

# Sets <result> to the exit status and <text> to the last line on stderr.
function(ask_xcrun result text)
  execute_process(COMMAND xcrun -sdk macosx ${ARGN}
    RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE errors)
  string(STRIP "${errors}" errors)
  string(REGEX REPLACE ".*\n" "" last "${errors}")
  set(${result} "${status}" PARENT_SCOPE)
  set(${text} "${last}" PARENT_SCOPE)
endfunction()

if(APPLE AND NOT "$ENV{METALGEN_COMPILER}" STREQUAL "clang")
  ask_xcrun(status reason metal --version)
  if(NOT status EQUAL 0)
    if("${reason}" STREQUAL "")
      set(reason "${status}")
    endif()
    message(FATAL_ERROR
      "There is no Metal compiler (xcrun metal: ${reason}).\n"
      "With Xcode 26 or newer: xcodebuild -downloadComponent MetalToolchain\n"
      "With an older Xcode: sudo xcode-select -s /Applications/Xcode.app\n"
      "Without Xcode: METALGEN_COMPILER=clang pip install ... takes metallibs of metalgen's own "
      "compiler, which no Mac has run yet.")
  endif()
  ask_xcrun(status reason metal -std=metal4.0 -mmacosx-version-min=26.0 -x metal -c /dev/null
    -o /dev/null)
  if(status EQUAL 0)
    list(APPEND METAL_STANDARDS metal4.0)
  else()
    message(STATUS "This Xcode compiles no Metal 4 (it needs Xcode 26): macOS 26 will use Metal 3.1")
  endif()
elseif(APPLE)
  list(APPEND METAL_STANDARDS metal4.0)
  message(WARNING "The kernel library is made by metalgen's own compiler, not by Apple's")
endif()
