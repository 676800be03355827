"""Networks whose tensors are derivatives of a polarisation, and labels from them for faster networks."""
