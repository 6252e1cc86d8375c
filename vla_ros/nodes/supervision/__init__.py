"""What the supervisor knows of the other nodes, and what it does about them."""
