"use strict";
// Draws every figure in the page's own colours, and again when those change or paper is printed.
(() => {
  const root = document.documentElement;
  const figures = [...document.querySelectorAll('script[type="application/json"]')].map((data) => ({
    box: document.getElementById(data.dataset.for),
    figure: JSON.parse(data.textContent),
  }));
  const coarse = matchMedia("(pointer: coarse)").matches;
  const config = { displayModeBar: false, responsive: true, showTips: false };

  // Colours are told by name, such as "var(--ink)", since plotly writes them into the picture.
  function coloured(value, styles) {
    if (typeof value === "string") {
      const name = /^var\((--[a-z-]+)\)$/.exec(value);
      return name ? styles.getPropertyValue(name[1]).trim() || value : value;
    }
    if (Array.isArray(value)) {
      return value.map((each) => coloured(each, styles));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, styles)]));
    }
    return value;
  }

  // plotly.js is text until the answer is on the screen: it takes a second to begin.
  let plotly = null;
  function begin() {
    const text = document.getElementById("plotly");
    if (text && !plotly) {
      plotly = document.createElement("script");
      plotly.textContent = text.textContent;
      document.head.append(plotly);
    }
  }

  function draw({ box, figure }) {
    const styles = getComputedStyle(root);
    const { data, layout } = coloured(figure, styles);
    layout.font = { ...layout.font, family: getComputedStyle(document.body).fontFamily };
    layout.dragmode = coarse ? false : "zoom";
    layout.autosize = true;
    if (box.clientWidth < 520) {
      layout.font.size = 12;
      layout.margin = { ...layout.margin, l: Math.min(layout.margin.l, 44), r: 8 };
      layout.legend = { ...layout.legend, font: { size: 11 } };
    }
    return Plotly.react(box, data, layout, config);
  }

  function drawAll() {
    begin();
    figures.forEach(draw);
  }

  // One after the other, so that the page can be read and scrolled meanwhile.
  function drawNext(rest) {
    if (rest.length === 0) {
      root.dataset.drawn = "true";
      return;
    }
    draw(rest[0]);
    setTimeout(() => drawNext(rest.slice(1)), 0);
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Styles of print hold only after this event, so the page puts on paper's by itself.
  addEventListener("beforeprint", () => {
    root.classList.add("paper");
    drawAll();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("paper");
    drawAll();
  });

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.firstChild.textContent = "Copied";
        setTimeout(() => (button.firstChild.textContent = "Copy"), 2000);
      } catch {
        getSelection().selectAllChildren(code);
      }
    });
  }

  addEventListener("load", () => {
    setTimeout(() => {
      begin();
      drawNext(figures);
    }, 0);
  });
})();
