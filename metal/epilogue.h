// What follows a product before its result is stored: bias, activation, residual.
#pragma once
#include <metal_stdlib>

#include "activation.h"

// result = activation(sum + bias) + residual; the residual lies as the result does.
// The activation is an argument, not a function constant: a branch that all threads take alike
// costs nothing beside a product, a pipeline for each activation would.
template <typename T>
struct Epilogue {
  device const T* bias;
  device const T* residual;
  bool has_bias, has_residual;
  int activation;

  T operator()(float sum, uint bias_index, size_t index) const thread {
    if (has_bias) sum += float(bias[bias_index]);
    sum = activate(sum, activation);
    return T(has_residual ? sum + float(residual[index]) : sum);
  }
};
