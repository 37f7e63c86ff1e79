// Products of matrices in tiles: what gemm, convolution and quantised products have in common.
#pragma once
#include <metal_stdlib>

// A threadgroup computes rows x columns results, `depth` terms at a time; its down x across
// SIMD-groups hold equal parts of them, as 8 x 8 matrices or a column to each lane. Tiles are of
// type S_ in threadgroup memory. parameters.json lists the tilings that are compiled.
template <typename S_, uint rows_, uint columns_, uint depth_, uint down_, uint across_,
          uint matrices_>
struct Tiling {
  static constant constexpr bool matrices = matrices_ != 0;
  // Without matrices elements are used one by one: they are widened once, on their way in.
  typedef metal::conditional_t<matrices_ != 0, S_, float> Stage;
  static constant constexpr uint rows = rows_;
  static constant constexpr uint columns = columns_;
  static constant constexpr uint depth = depth_;
  static constant constexpr uint across = across_;
  static constant constexpr uint simdgroups = down_ * across_;
  static constant constexpr uint threads = 32 * simdgroups;
  static constant constexpr uint part_rows = rows_ / down_;         // of one SIMD-group
  static constant constexpr uint part_columns = columns_ / across_;
  static constant constexpr uint row_fragments = part_rows / 8;     // 8 x 8 matrices
  static constant constexpr uint column_fragments = part_columns / 8;
  // Lines in threadgroup memory are four elements longer than what they hold: no two on the same
  // banks.
  static constant constexpr uint depth_pitch = depth_ + 4;
  static constant constexpr uint rows_pitch = rows_ + 4;
  static constant constexpr uint columns_pitch = columns_ + 4;
  // Fours of elements that hold a tile of the left and the right matrix, whichever way it lies.
  static constant constexpr uint left_fours =
      (rows_ * depth_pitch > depth_ * rows_pitch ? rows_ * depth_pitch : depth_ * rows_pitch) / 4;
  static constant constexpr uint right_fours =
      (columns_ * depth_pitch > depth_ * columns_pitch ? columns_ * depth_pitch
                                                       : depth_ * columns_pitch) /
      4;
  // Floats for Product::store.
  static constant constexpr uint scratch_size = matrices_ != 0 ? simdgroups * 8 * part_columns : 1;
};

// A matrix in memory whose lines are contiguous: element i of line l is at l * pitch + i.
template <typename T>
struct Lines {
  device const T* start;
  uint pitch;
  uint count;   // lines
  uint length;  // elements of each
};

// Copies `lines` lines of `length` elements, from (line, at) on, to threadgroup memory; zeros stand
// in for what lies beyond the matrix. Threads read `width` neighbours at once, at any alignment.
template <uint lines, uint length, uint threads, uint width, typename S, typename T>
static void load_tile(threadgroup S* tile, Lines<T> matrix, uint line, uint at, uint thread_id) {
  constexpr uint chunks = length / width;
  for (uint i = thread_id; i < lines * chunks; i += threads) {
    const uint y = line + i / chunks, x = at + i % chunks * width;
    device const T* source = matrix.start + size_t(y) * matrix.pitch + x;
    threadgroup S* target = tile + i / chunks * (length + 4) + i % chunks * width;
    if (width == 4 && y < matrix.count && x + 4 <= matrix.length) {
      const metal::vec<T, 4> four =
          metal::vec<T, 4>(*(device const metal::packed_vec<T, 4>*)source);
      *(threadgroup metal::vec<S, 4>*)target = metal::vec<S, 4>(four);
    } else {
      for (uint j = 0; j < width; ++j) {
        target[j] = y < matrix.count && x + j < matrix.length ? S(source[j]) : S(0.0f);
      }
    }
  }
}

// As load_tile, but lines become columns in threadgroup memory.
template <uint lines, uint length, uint threads, uint width, typename S, typename T>
static void load_tile_turned(threadgroup S* tile, Lines<T> matrix, uint line, uint at,
                             uint thread_id) {
  for (uint i = thread_id; i < lines * (length / width); i += threads) {
    const uint y = line + i % lines, x = at + i / lines * width;
    device const T* source = matrix.start + size_t(y) * matrix.pitch + x;
    threadgroup S* target = tile + i / lines * width * (lines + 4) + i % lines;
    for (uint j = 0; j < width; ++j) {
      target[j * (lines + 4)] =
          y < matrix.count && x + j < matrix.length ? S(source[j]) : S(0.0f);
    }
  }
}

// One SIMD-group's part of a threadgroup's tile of results.
template <typename Tiles, bool matrices = Tiles::matrices>
struct Product;

template <typename Tiles>
struct Product<Tiles, true> {
  metal::simdgroup_float8x8 sums[Tiles::row_fragments][Tiles::column_fragments];
  uint row, column;  // where the part begins in the tile

  void begin(uint simdgroup) thread {
    row = simdgroup / Tiles::across * Tiles::part_rows;
    column = simdgroup % Tiles::across * Tiles::part_columns;
    for (uint i = 0; i < Tiles::row_fragments; ++i) {
      for (uint j = 0; j < Tiles::column_fragments; ++j) {
        sums[i][j] = metal::make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
      }
    }
  }

  // Adds left x right, tiles in threadgroup memory as rows x depth and depth x columns, or
  // transposed.
  template <typename S>
  void add(threadgroup const S* left, bool left_transposed, threadgroup const S* right,
           bool right_transposed) thread {
    for (uint step = 0; step < Tiles::depth; step += 8) {
      metal::simdgroup_matrix<S, 8, 8> a[Tiles::row_fragments], b[Tiles::column_fragments];
      for (uint i = 0; i < Tiles::row_fragments; ++i) {
        const uint y = row + i * 8;
        if (left_transposed) {
          simdgroup_load(a[i], left + step * Tiles::rows_pitch + y, Tiles::rows_pitch,
                         metal::vec<ulong, 2>(0), true);
        } else {
          simdgroup_load(a[i], left + y * Tiles::depth_pitch + step, Tiles::depth_pitch);
        }
      }
      for (uint j = 0; j < Tiles::column_fragments; ++j) {
        const uint x = column + j * 8;
        if (right_transposed) {
          simdgroup_load(b[j], right + x * Tiles::depth_pitch + step, Tiles::depth_pitch,
                         metal::vec<ulong, 2>(0), true);
        } else {
          simdgroup_load(b[j], right + step * Tiles::columns_pitch + x, Tiles::columns_pitch);
        }
      }
      for (uint i = 0; i < Tiles::row_fragments; ++i) {
        for (uint j = 0; j < Tiles::column_fragments; ++j) {
          simdgroup_multiply_accumulate(sums[i][j], a[i], b[j], sums[i][j]);
        }
      }
    }
  }

  // Hands each result to write(row, column, value), neighbouring lanes neighbouring columns;
  // `write` guards the edges. `scratch` holds Tiles::scratch_size floats for the threadgroup.
  template <typename Write>
  void store(threadgroup float* scratch, uint simdgroup, uint lane, Write write) thread {
    threadgroup float* own = scratch + simdgroup * 8 * Tiles::part_columns;
    for (uint i = 0; i < Tiles::row_fragments; ++i) {
      for (uint j = 0; j < Tiles::column_fragments; ++j)
        simdgroup_store(sums[i][j], own + j * 8, Tiles::part_columns);
      metal::simdgroup_barrier(metal::mem_flags::mem_threadgroup);  // eight rows are complete
      for (uint e = lane; e < 8 * Tiles::part_columns; e += 32) {
        write(row + i * 8 + e / Tiles::part_columns, column + e % Tiles::part_columns, own[e]);
      }
      metal::simdgroup_barrier(metal::mem_flags::mem_threadgroup);  // they have been read
    }
  }
};

// The same where a lane has whole columns of the part and adds them up one by one: what devices do
// best that have wide vectors and no SIMD-group matrices, such as the software device.
template <typename Tiles>
struct Product<Tiles, false> {
  static constant constexpr uint lane_columns = Tiles::part_columns / 32;
  float sums[Tiles::part_rows][lane_columns];
  uint row, column;  // where the part begins in the tile

  void begin(uint simdgroup) thread {
    row = simdgroup / Tiles::across * Tiles::part_rows;
    column = simdgroup % Tiles::across * Tiles::part_columns;
    for (uint i = 0; i < Tiles::part_rows; ++i) {
      for (uint j = 0; j < lane_columns; ++j) sums[i][j] = 0.0f;
    }
  }

  // As above; the right tile must lie as depth x columns.
  void add(threadgroup const float* left, bool left_transposed, threadgroup const float* right,
           uint lane) thread {
    for (uint k = 0; k < Tiles::depth; ++k) {
      float b[lane_columns];
      for (uint j = 0; j < lane_columns; ++j) {
        b[j] = right[k * Tiles::columns_pitch + column + j * 32 + lane];
      }
      for (uint i = 0; i < Tiles::part_rows; ++i) {
        const float a = left_transposed ? left[k * Tiles::rows_pitch + row + i]
                                        : left[(row + i) * Tiles::depth_pitch + k];
        for (uint j = 0; j < lane_columns; ++j) sums[i][j] = metal::fma(a, b[j], sums[i][j]);
      }
    }
  }

  template <typename Write>
  void store(threadgroup float*, uint, uint lane, Write write) thread {
    for (uint i = 0; i < Tiles::part_rows; ++i) {
      for (uint j = 0; j < lane_columns; ++j) write(row + i, column + j * 32 + lane, sums[i][j]);
    }
  }
};

// Adds a step's tiles, whichever way the product is held.
template <typename Tiles>
static void add_step(thread Product<Tiles, true>& product,
                     threadgroup const typename Tiles::Stage* left, bool left_transposed,
                     threadgroup const typename Tiles::Stage* right, bool right_transposed, uint) {
  product.add(left, left_transposed, right, right_transposed);
}
template <typename Tiles>
static void add_step(thread Product<Tiles, false>& product, threadgroup const float* left,
                     bool left_transposed, threadgroup const float* right, bool, uint lane) {
  product.add(left, left_transposed, right, lane);
}
