"""Answers made of the database's rows without instances: a schema becomes SQL and the code that writes JSON.

`schemas` reads the schema, `writers` makes the code, `statements` the SQL, `fetching` runs it, `answers` puts
these together as a plain function, and `operations` has django-ninja's views answer by it.
"""
