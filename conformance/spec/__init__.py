"""The spec: from YAML with the place of every key to cases, tiers, known divergences."""
