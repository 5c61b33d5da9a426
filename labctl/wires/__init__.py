"""A lab on real packets: a network namespace for each party, wires between them, and packets that are lost on the way.

Linux only. Nothing of it is in the machine's own network namespace: no interface, no route, no rule. All of it is held by
processes that carry the lab's marker, and the kernel takes it away with the last of them.
"""
