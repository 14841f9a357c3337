"""What is asked of every adapter, whatever its numbers are: the contract of `conformance.protocol`."""
