"""The process that holds one framework; what runs there imports nothing of ours beyond `protocol` and `precision`."""
