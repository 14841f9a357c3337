"""Published runs: kept whole and compressed, and a site over all of them with the history of every cell."""
