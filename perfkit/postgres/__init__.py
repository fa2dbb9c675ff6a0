"""What PostgreSQL says: its catalogue, its estimates, what its version can do, and how to connect to it."""
