"""The demo's tables once more, as an app whose managers are those of one contender, and what it is timed at."""
