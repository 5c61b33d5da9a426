"""The lab's daemon: links, servers, faults, journal, observed view, control API."""
