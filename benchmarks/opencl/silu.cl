// silu.metal in OpenCL C: y[i] = x[i] / (1 + exp(-x[i])), one element or four a work-item.
kernel void silu(global const float* x, global float* y) {
  const uint i = get_global_id(0);
  y[i] = x[i] / (1 + native_exp(-x[i]));
}

kernel void silu4(global const float4* x, global float4* y) {
  const uint i = get_global_id(0);
  y[i] = x[i] / (1 + native_exp(-x[i]));
}
