// Rows of a table by index: y[i] = table[indices[i]].
#include <metal_stdlib>

#include "vectors.h"

using namespace metal;

// A thread for each four elements of a row: (ceil(columns / 4), indices). An index that the table
// does not have gives a row of NaN, which is seen; reading there would be a fault.
template <typename T, typename I>
kernel void embedding(device const I* indices [[buffer(0)]],
                      device const T* table   [[buffer(1)]],
                      device T* y             [[buffer(2)]],
                      constant uint& columns  [[buffer(3)]],
                      constant uint& rows     [[buffer(4)]],
                      uint2 place             [[thread_position_in_grid]]) {
  const long index = long(indices[place.y]);
  const bool is_row = index >= 0 && index < long(rows);
  const size_t row = is_row ? size_t(index) : 0;
  const uint i = place.x * 4;
  const float4 values = is_row ? load_four(table + row * columns, i, columns) : float4(NAN);
  store_four(y + size_t(place.y) * columns, i, columns, values);
}

#define instantiate_embedding(name, T, index_name, I)                  \
  template [[host_name("embedding_" name "_" index_name)]] kernel      \
      decltype(embedding<T, I>) embedding<T, I>;

instantiate_embedding("float32", float, "int32", int)
instantiate_embedding("float32", float, "int64", long)
instantiate_embedding("float16", half, "int32", int)
instantiate_embedding("float16", half, "int64", long)
instantiate_embedding("bfloat16", bfloat, "int32", int)
instantiate_embedding("bfloat16", bfloat, "int64", long)
