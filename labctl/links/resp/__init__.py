"""Toxics that understand RESP, the protocol of Redis: requests matched by command and key, replies kept in order."""
