"""The run file: what was judged as lines, written, read back, and gathered into results."""
