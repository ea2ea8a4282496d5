/**
 * A script of the page that keeps clicks on buttons which come before the page's own scripts are there, each button once.
 * `window.replayClicks` repeats them.
 */
export const EARLY_CLICKS = `(() => {
  const clicked = new Set();
  const keep = (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    clicked.add(button);
  };
  addEventListener("click", keep, true);
  window.replayClicks = () => {
    removeEventListener("click", keep, true);
    for (const button of clicked) button.click();
    clicked.clear();
  };
})()`;
