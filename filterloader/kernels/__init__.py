"""Kernels: every compiled function, one noun a file; arrays in, arrays out, no validation that nobody asks for."""
