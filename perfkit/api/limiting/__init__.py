"""Rate limits that are exact over all processes: of views, of ninja's operations, of whole sites."""
