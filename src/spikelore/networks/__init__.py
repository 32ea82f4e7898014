"""Networks: parameters, state and forward pass."""
