"""One fixture plugin per kind of server."""
