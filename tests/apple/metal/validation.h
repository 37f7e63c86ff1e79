// What Apple's validation layer does when a program breaks Metal's rules: says which, and ends it.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

// `method` as "-[MTLDebugComputeCommandEncoder dispatchThreads:...]".
inline void validate(bool holds, const char* method, const std::string& rule) {
  if (holds) return;
  std::fprintf(stderr, "%s: failed assertion `%s'\n", method, rule.c_str());
  std::abort();
}
