"""One measurement over a grid of settings and seeds, by many processes: an axis, a job, a store, workers, a record."""
