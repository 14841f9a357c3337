"""Planning: which adapters there are, what they offer, and so which cells a run has."""
