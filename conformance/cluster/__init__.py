"""A run on a Dask cluster: batches of cells travel as data, and are performed and judged where a worker has their group."""
