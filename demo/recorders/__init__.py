"""How real servers are brought to say what tests/data/recorded keeps of them."""
