"""Labs in containers: a pod per node, real Toxiproxy on every link. Everything that knows Docker's SDK is in here.

A pod is two containers in one network namespace. The first runs Toxiproxy and owns the namespace, so that a server may be
killed without taking it along; in it Toxiproxy listens on 127.0.0.1:P_j for every peer j, as which everybody knows that
peer, and forwards to pod j. The second runs the server. One more Toxiproxy, the gateway, publishes 127.0.0.1:P_k on the
host for clients.
"""
