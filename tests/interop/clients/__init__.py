"""Foreign clients behind one face, so that one story is told through each of them."""
