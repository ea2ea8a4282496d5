"""How soon a page of the web app shows its largest element (LCP) on a slow network, with an empty cache.

    python -m benchmarks.first_load [--rounds 5] [--cpu 1]

The network is Lighthouse's "slow 4G" (`mobileSlow4G`, formerly "fast 3G"): once with that network's own figures, 150 ms
for each request and 1,638.4 kbit/s, and once with those that Lighthouse gives to DevTools to stand for it, 562.5 ms and
1,474.56 kbit/s. The app stands alone, built, and its service is down: the first picture does without.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import product
from typing import Any

from playwright.sync_api import Browser

from scripts.web import serving_web
from tests.chromium import chromium

PAGES = ("/", "/producer")
KILOBIT_BYTES = 1000 / 8
# Latency in ms, kbit/s down and up.
NETWORKS = {"150 ms": (150, 1638.4, 750), "562.5 ms": (562.5, 1474.56, 675)}
VIEWPORT = {"width": 412, "height": 823}  # of Lighthouse's phone
SETTLED_MS = 1500
LARGEST = """() => new Promise((done) => new PerformanceObserver((list) => {
  const last = list.getEntries().at(-1);
  done([last.startTime, last.element?.tagName ?? "", last.size]);
}).observe({ type: "largest-contentful-paint", buffered: true }))"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", type=float, default=1, help="how many times slower than this machine's; Lighthouse: 4")
    options = parser.parse_args()
    with serving_web({"MUSIC_SERVICE_URL": "http://127.0.0.1:9"}) as app, chromium() as browser:
        for path, network in product(PAGES, NETWORKS):
            measure(browser, app + path, network, options.cpu)  # the server's first answer of a page takes longer
            found = [measure(browser, app + path, network, options.cpu) for _ in range(options.rounds)]
            seconds = sorted(each / 1000 for each, _ in found)
            spread = f"{statistics.median(seconds):.2f} s ({seconds[0]:.2f}–{seconds[-1]:.2f})"
            print(f"{path:10} {network:8} LCP {spread}, {found[0][1]}", flush=True)


def measure(browser: Browser, url: str, network: str, cpu: float) -> tuple[float, str]:
    """The milliseconds until the largest element is shown, and its tag."""
    context = browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    latency, down, up = NETWORKS[network]
    limits = {"downloadThroughput": down * KILOBIT_BYTES, "uploadThroughput": up * KILOBIT_BYTES}
    devtools.send("Network.emulateNetworkConditions", {"offline": False, "latency": latency} | limits)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": cpu})
    page.goto(url, wait_until="load")
    page.wait_for_timeout(SETTLED_MS)
    found: Any = page.evaluate(LARGEST)
    context.close()
    return found[0], found[1]


if __name__ == "__main__":
    main()
