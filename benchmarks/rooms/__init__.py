"""One module per room; each has `measure(is_quick=…)`, which returns a `Report`."""
