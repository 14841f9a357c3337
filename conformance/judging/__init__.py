"""Judging: from what happened to what it means."""
