"""The route table, and a module of rows and handlers for each kind of resource.

The resources: backends, datasets, jobs, operations, producers, tracks, training, twins and uploads. The other modules
serve them: `route` and `table` (a row, all rows), `handler`, `inputs`, `forms` and `application` (from a request to
its handler), `examples`, and the modules that one resource uses.
"""
