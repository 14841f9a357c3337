"""Throughput: how fast each implementation is, in units of what the machine's memory can move, beside its error."""
