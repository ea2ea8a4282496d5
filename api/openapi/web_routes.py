"""The routes that the web app forwards. `python -m api.openapi.web_routes` prints web/lib/server/routes.json."""

from __future__ import annotations

import json

from api.routes.route import TRAIN
from api.routes.table import ROUTES


def web_routes() -> list[dict[str, str | bool]]:
    """The method and path of each route; whether it needs the password if one is set, and is for signed-in users.

    The app needs it also for reads of producers alone: its key may read what every producer has.
    """
    return [
        {
            "method": route.method,
            "path": route.path,
            "password": route.writes or route.scopes == TRAIN,
            "sign_in": route.sign_in,
        }
        for route in ROUTES
        if route.web_app
    ]


def text() -> str:
    """As JSON, with a line for each route."""
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in web_routes()) + "\n]\n"


if __name__ == "__main__":
    print(text(), end="")
