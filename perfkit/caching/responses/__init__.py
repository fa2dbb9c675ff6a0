"""Cached responses: `cache_response` and the middleware, over rules of HTTP that need no server to be tested."""
