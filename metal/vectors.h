// Four neighbouring elements at once, at any alignment: what row kernels read and write.
#pragma once
#include <metal_stdlib>

// Elements i to i + 3 of a line as floats; `beyond` stands in for what lies behind its end.
template <typename T>
static metal::vec<float, 4> load_four(device const T* line, uint i, uint length,
                                      float beyond = 0.0f) {
  if (i + 4 <= length) {
    return metal::vec<float, 4>(
        metal::vec<T, 4>(*(device const metal::packed_vec<T, 4>*)(line + i)));
  }
  metal::vec<float, 4> four = beyond;
  for (uint j = 0; j < 4; ++j) four[j] = i + j < length ? float(line[i + j]) : beyond;
  return four;
}

// Puts four values at elements i to i + 3 of a line, rounded to its type; drops what lies behind
// its end.
template <typename T>
static void store_four(device T* line, uint i, uint length, metal::vec<float, 4> four) {
  if (i + 4 <= length) {
    *(device metal::packed_vec<T, 4>*)(line + i) = metal::packed_vec<T, 4>(metal::vec<T, 4>(four));
  } else {
    for (uint j = 0; j < 4; ++j) {
      if (i + j < length) line[i + j] = T(four[j]);
    }
  }
}
