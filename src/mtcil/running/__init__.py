"""Which runs there are, and performing many of them."""
