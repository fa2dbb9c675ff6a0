"""Answers made of the database's rows without instances: a schema becomes SQL and the code that writes JSON.

`schemas` reads the schema, `writers` makes the code, `statements` and `walks` the SQL, `fetching` runs it;
`answers` puts these together as steps, which `driving` takes in a thread or on the event loop.
`contracts` and `responses` speak with django-ninja, `rows` is for any other code.
"""
