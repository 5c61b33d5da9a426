"""Which servers and helpers this machine has, what they can do, and the command that adds what is missing."""
