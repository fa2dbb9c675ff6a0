"""What PostgreSQL says: its catalogue, its estimates, what its version can do, and a session's settings."""
