"""Kernels: every compiled function, one noun a file; arrays in, arrays out, no validation beyond what is asked of them."""
