"""What changed between two results, and how that is shown."""
