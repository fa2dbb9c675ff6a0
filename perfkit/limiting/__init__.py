"""How many requests in how long a time, counted exactly over all processes: the core of all limits.

Views and operations are limited by `perfkit.api`, which offers the names of this room too.
"""
