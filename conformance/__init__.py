"""The conformance suite for batch normalization and mean centering."""

__version__ = "0.1.0"
