"""What all tests share."""

import models  # noqa: F401 - sets how threads wait before anything imports torch
