"""What room `bulk` measures: the same flights written in every way."""
