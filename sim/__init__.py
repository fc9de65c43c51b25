"""Many nodes on one machine, in virtual time."""
