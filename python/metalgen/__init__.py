"""Metal kernels for PyTorch, written by language models or by metalgen, and proven right."""
