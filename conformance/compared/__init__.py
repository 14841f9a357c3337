"""What a comparison is made of, and how it is shown: see `conformance.compare`."""
