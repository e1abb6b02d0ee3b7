"""Layers of experts as exporters spell them, made without an exporter.

graph.py    nodes of one graph, in the dialect of an exporter
parts.py    feed-forward networks and what surrounds a layer
routers.py  routers R1 to R7; the others are parts of others.py
loops.py, batched.py, grouped.py, dense.py, capacity.py, others.py
            dispatch forms D1 to D20
cases.py    which of them are tested together, at which sizes

Each form comes with what it computes in float64 (experts_oracle.py,
routing_oracle.py). Numbers of forms and routers are those of docs/Raising.md.
"""
