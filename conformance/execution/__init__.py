"""Execution: cells go to worker processes, and what happened comes back."""
