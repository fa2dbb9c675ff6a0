"""Answers made of the database's rows without instances: a schema becomes SQL and the code that writes JSON.

`schemas` reads the schema, `writers` makes the code, `statements` and `walks` the SQL, `fetching` runs it;
`answers` puts these together as plain functions. `contracts` and `responses` speak with django-ninja.
"""
