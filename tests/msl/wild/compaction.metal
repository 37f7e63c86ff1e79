// What a mask selects, packed by ballots and one atomic addition for each SIMD-group.
#include <metal_stdlib>
using namespace metal;
kernel void masked_select(device const float* x, device const bool* mask, device float* out,
    device atomic_uint& count, constant uint& n,
    uint i [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
    const bool keep = i < n && mask[i];
    const simd_vote vote = simd_ballot(keep);
    const ulong bits = (simd_vote::vote_t)vote;
    uint base = 0;
    if (lane == 0) base = atomic_fetch_add_explicit(&count, popcount(uint(bits)),
        memory_order_relaxed);
    base = simd_broadcast_first(base);
    if (keep) out[base + popcount(uint(bits) & ((1u << lane) - 1))] = x[i];
}
