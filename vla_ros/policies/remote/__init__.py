"""A policy on a server: the wire, the connection, and the policy that asks."""
