"""Search: drawn cases, run against the reference, and what they leave behind. Hypothesis comes with the extra `search`."""
