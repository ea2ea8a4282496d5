"""The HTTP side of the front service: routes, authentication, middleware, and the OpenAPI document."""
