"""Values kept under names: what functions, pages and callers have made, and what they were made from."""
