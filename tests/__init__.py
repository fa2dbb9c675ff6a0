"""perfkit's tests: `tests/<room>/test_<module>.py` mirrors `perfkit/<room>/<module>.py`."""
