// The activations that kernels apply to their results, chosen when a pipeline is made.
#pragma once
#include <metal_stdlib>

// Numbers as metalgen.ops.activations passes them.
constant int no_activation = 0;
constant int relu_activation = 1;
constant int gelu_activation = 2;
constant int gelu_tanh_activation = 3;
constant int silu_activation = 4;
constant int tanh_activation = 5;
constant int sigmoid_activation = 6;
constant int quick_gelu_activation = 7;
constant int hardswish_activation = 8;
constant int softplus_activation = 9;
constant int mish_activation = 10;

// The error function to 3 units in the last place: x p(x^2) near zero, 1 - exp(-q(|x|)) beyond,
// where p and q are least-squares fits at Chebyshev points of [0, 1] and [1, 4].
static float error_function(float x) {
  const float size = metal::min(metal::fabs(x), 4.0f);
  if (size < 1.0f) {
    const float square = x * x;
    float p = 7.882497448008507e-05f;
    p = metal::fma(p, square, -0.0008018855005502701f);
    p = metal::fma(p, square, 0.005189312156289816f);
    p = metal::fma(p, square, -0.02685432881116867f);
    p = metal::fma(p, square, 0.11283597350120544f);
    p = metal::fma(p, square, -0.3761262595653534f);
    p = metal::fma(p, square, 1.1283791065216064f);
    return x * p;
  }
  float q = -1.6140616025950294e-06f;
  q = metal::fma(q, size, 4.559062290354632e-05f);
  q = metal::fma(q, size, -0.0005927695310674608f);
  q = metal::fma(q, size, 0.004740222357213497f);
  q = metal::fma(q, size, -0.02636471763253212f);
  q = metal::fma(q, size, 0.10997824370861053f);
  q = metal::fma(q, size, 0.6319370865821838f);
  q = metal::fma(q, size, 1.1301666498184204f);
  q = metal::fma(q, size, -0.0003032129898201674f);
  return metal::copysign(1.0f - metal::precise::exp(-q), x);
}

// log(1 + exp(x)), which is x to float's precision beyond 20; NaN stays.
static float softplus(float x) {
  return x > 20.0f ? x : metal::precise::log(1.0f + metal::precise::exp(x));
}

static float logistic(float x) { return 1.0f / (1.0f + metal::precise::exp(-x)); }

// `activation` is the same for all threads, so that every branch is taken alike.
static float activate(float x, int activation) {
  if (activation == relu_activation) return x < 0.0f ? 0.0f : x;  // keeps NaN
  if (activation == gelu_activation) return 0.5f * x * (1.0f + error_function(x * 0.70710678f));
  if (activation == gelu_tanh_activation) {
    const float inner = 0.79788456f * metal::fma(0.044715f * x * x, x, x);
    return 0.5f * x * (1.0f + metal::precise::tanh(inner));
  }
  if (activation == silu_activation) return x * logistic(x);
  if (activation == tanh_activation) return metal::precise::tanh(x);
  if (activation == sigmoid_activation) return logistic(x);
  if (activation == quick_gelu_activation) return x * logistic(1.702f * x);
  if (activation == hardswish_activation) return x * metal::clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f;
  if (activation == softplus_activation) return softplus(x);
  if (activation == mish_activation) return x * metal::precise::tanh(softplus(x));
  return x;
}
