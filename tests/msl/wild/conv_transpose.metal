// A transposed convolution over a struct of sizes; components of vectors compared and reduced.
#include <metal_stdlib>
struct ConvParams { int4 in_shape; int4 w_shape; int2 stride, padding, dilation; int out_h,
    out_w; };
kernel void conv_transpose2d(const device float *input [[buffer(0)]],
    const device float *weight [[buffer(1)]],
    device float *output [[buffer(2)]], constant ConvParams &p [[buffer(3)]],
        metal::uint3 gid [[thread_position_in_grid]])
{
    const int ow = gid.x, oh = gid.y;
    const int oc_total = p.w_shape[1];
    const int n = gid.z / oc_total, oc = gid.z % oc_total;
    if (ow >= p.out_w || oh >= p.out_h) return;
    float sum = 0.0;
    for (int kh = 0; kh < p.w_shape.z; kh++)
    for (int kw = 0; kw < p.w_shape.w; kw++) {
        metal::int2 at = metal::int2(oh, ow) + p.padding - metal::int2(kh, kw) * p.dilation;
        if (any(at < 0) || any(at % p.stride != 0)) continue;
        at /= p.stride;
        if (at.x >= p.in_shape.z || at.y >= p.in_shape.w) continue;
        for (int ic = 0; ic < p.in_shape.y; ic++)
            sum += input[((n * p.in_shape.y + ic) * p.in_shape.z + at.x) * p.in_shape.w + at.y] *
                   weight[((ic * oc_total + oc) * p.w_shape.z + kh) * p.w_shape.w + kw];
    }
    output[((n * oc_total + oc) * p.out_h + oh) * p.out_w + ow] = sum;
}
