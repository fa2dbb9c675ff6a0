"""The demo's app: flights, airports, planes, weather, and what people report."""
