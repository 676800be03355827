"""Networks whose tensors are derivatives of a polarisation, and what others learn from them."""
