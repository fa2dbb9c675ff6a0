"""Filters of lists: how parameters are declared, what their values are held to, and how OpenAPI shows them."""
