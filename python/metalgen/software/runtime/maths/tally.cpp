// What instrumented kernels count: executions of a SIMD-group, active lanes, cache lines touched.
//
// A site has five counters: executions with at least one active lane, active lanes, cache lines
// that an access touched, the fewest lines that hold as many different bytes, and those bytes.
// Threadgroups run side by side, so every addition is atomic.

namespace metalgen {
namespace {

using Count = unsigned long;
constexpr int kLanes = 32;
constexpr int kLineShift = 7;  // 128 bytes, the line of Apple's system cache

void add(Count* counter, Count n) { __atomic_fetch_add(counter, n, __ATOMIC_RELAXED); }

// Adds `value` to the first `count` entries of `seen` unless it is among them.
int insert(Count* seen, int count, Count value) {
  for (int i = 0; i < count; ++i) {
    if (seen[i] == value) return count;
  }
  seen[count] = value;
  return count + 1;
}

void count_access(Count* site, int lanes, int lines, Count bytes) {
  add(site, 1);
  add(site + 1, Count(lanes));
  add(site + 2, Count(lines));
  add(site + 3, (bytes + (Count(1) << kLineShift) - 1) >> kLineShift);
  add(site + 4, bytes);
}

}  // namespace

extern "C" {
unsigned tally_block(Count* site, unsigned active) {
  if (active == 0) return 0;
  add(site, 1);
  add(site + 1, Count(__builtin_popcount(active)));
  return 0;
}

// Each active lane reads or writes `bytes` at its address.
unsigned tally_access(Count* site, const Count* addresses, Count bytes, unsigned active) {
  if (active == 0) return 0;
  Count lines[2 * kLanes];
  Count distinct[kLanes];
  int line_count = 0;
  int distinct_count = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((active >> lane & 1) == 0) continue;
    const Count first = addresses[lane];
    line_count = insert(lines, line_count, first >> kLineShift);
    line_count = insert(lines, line_count, (first + bytes - 1) >> kLineShift);
    distinct_count = insert(distinct, distinct_count, first);
  }
  count_access(site, __builtin_popcount(active), line_count, Count(distinct_count) * bytes);
  return 0;
}

// The lanes together read or write eight rows of `row_bytes`, `stride` bytes apart.
unsigned tally_matrix(Count* site, Count first, Count stride, Count row_bytes, unsigned active) {
  if (active == 0) return 0;
  Count lines[16];
  int line_count = 0;
  for (Count row = 0; row < 8; ++row) {
    const Count start = first + row * stride;
    line_count = insert(lines, line_count, start >> kLineShift);
    line_count = insert(lines, line_count, (start + row_bytes - 1) >> kLineShift);
  }
  count_access(site, __builtin_popcount(active), line_count, 8 * row_bytes);
  return 0;
}
}

}  // namespace metalgen
