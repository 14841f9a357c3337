"""`conformance run`: the whole matrix by way of pytest."""
