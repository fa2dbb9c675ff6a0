"""The demo's tables once more, as an app whose managers are those of one entrant, and what it is timed at."""
