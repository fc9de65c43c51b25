"""What peers say to each other, and the mathematics of saying it privately."""
