"""What the suite writes: files that appear whole or not at all, and JSON that a person can read line by line."""
