"""Finds N+1 queries while the project runs: one statement sent once for each row, where one for all would do.

`watch_n_plus_one` watches a block, `n_plus_one_guard` each request; both go by `PERFKIT["N_PLUS_ONE_MODE"]`.
`no_n_plus_one` is for tests: what is found fails the block. `allow_n_plus_one` leaves a block alone.
A `Finding` names the model and relation, the lines, and what to write instead.
The names stand in `perfkit.loading`; `current` is all that a process loads before they are asked for.
"""
