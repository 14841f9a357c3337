"""Answers to a person with numbers of their own: is this right, what would it be elsewhere, what must it be."""
