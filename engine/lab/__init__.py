"""A pretend organisation and tenant on loopback sockets: a program of its own, reached over the wire only."""
