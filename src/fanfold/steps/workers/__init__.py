"""Rows that run on other machines: the driver's crew, the hub, the workers. Only `ray_cluster` knows Ray."""
