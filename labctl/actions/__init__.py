"""Maintenance: what an operator does to a lab on purpose, as steps of a drill. A kind of action is a file entry here."""
