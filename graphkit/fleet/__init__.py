"""Many models: the same work on each, on this machine's processes or on a Dask cluster, one outcome a model."""
