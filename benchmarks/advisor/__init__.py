"""The index advisor judged: a published workload, and the indexes that an exhaustive search found best for it."""
