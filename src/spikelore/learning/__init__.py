"""How a network changes: one module a learning rule."""
