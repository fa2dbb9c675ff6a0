"""Where rows stand in a list: a total order, the place of a row in it, and the rows after a place."""
