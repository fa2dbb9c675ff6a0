"""What is to be in the cache before the first reader asks: warmers, and what runs them."""
