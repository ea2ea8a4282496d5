"""The route table (table.py), and a module of handlers and rows for each kind of resource."""
