"""A database back end that perfkit does not know: SQLite under another vendor's name."""
