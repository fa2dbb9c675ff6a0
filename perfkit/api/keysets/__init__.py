"""Lists that cost the same at any depth: a page is what stands after a row, wherever that row stands."""
