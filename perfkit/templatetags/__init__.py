"""Template tags of perfkit; they only adapt its rooms to templates."""
