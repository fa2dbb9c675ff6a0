"""The soak: readers and writers in processes of their own, random faults, and a check of every read.

`python -m tests.soak --seconds 60` runs it. `history.py` says what is checked, `writes.py` and `looks.py` what the
processes do, `disturbances.py` and `crew.py` what is done to them, `report.py` what a run must have proved.
"""
