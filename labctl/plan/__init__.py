"""Pure planning: a topology becomes nodes, addresses and the text of every file that the servers start from."""
