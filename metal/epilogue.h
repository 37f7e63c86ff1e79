// What follows a product before its result is stored: bias, activation, residual.
#pragma once
#include <metal_stdlib>

#include "activation.h"

// Added to an activation's number: it comes after the residual.
constant int after_residual = 64;

// result = activation(sum + bias) + residual, or activation(sum + bias + residual); the residual
// lies as the result does.
// The activation is an argument, not a function constant: a branch that all threads take alike
// costs nothing beside a product, a pipeline for each activation would.
template <typename T>
struct Epilogue {
  device const T* bias;
  device const T* residual;
  bool has_bias, has_residual;
  int activation;

  T operator()(float sum, uint bias_index, size_t index) const thread {
    const bool is_last = activation >= after_residual;
    if (has_bias) sum += float(bias[bias_index]);
    if (!is_last) sum = activate(sum, activation);
    if (has_residual) sum += float(residual[index]);
    return T(is_last ? activate(sum, activation - after_residual) : sum);
  }
};
