"use strict";
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
const element = (name, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
};
for (const svg of document.querySelectorAll("svg[data-plot]")) {
  const lines = JSON.parse(svg.dataset.plot);
  const layer = svg.querySelector(".hover");
  svg.addEventListener("mouseleave", () => layer.replaceChildren());
  svg.addEventListener("mousemove", (event) => {
    const x = ((event.clientX - svg.getBoundingClientRect().left) / svg.getBoundingClientRect().width) * svg.viewBox.baseVal.width;
    const near = lines
      .filter((line) => line.points.length)
      .map((line) => [line, line.points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a))]);
    if (!near.length) return;
    const at = near.map((pair) => pair[1]).reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
    const shown = near.filter((pair) => Math.abs(pair[1][0] - at[0]) < 8);
    const width = 190;
    const left = at[0] > svg.viewBox.baseVal.width - width - 30 ? at[0] - width - 10 : at[0] + 10;
    layer.replaceChildren(
      element("path", { d: `M${at[0]} 12V200` }),
      element("rect", { x: left, y: 16, width, height: 22 + 15 * shown.length, rx: 6 }),
      element("text", { x: left + 9, y: 31 }, at[2]),
      ...shown.flatMap(([line, point], index) => [
        element("circle", { cx: point[0], cy: point[1], r: 3.5, class: line.class }),
        element("circle", { cx: left + 13, cy: 42 + 15 * index, r: 3.5, class: line.class }),
        element("text", { x: left + 22, y: 46 + 15 * index }, `${line.name}: ${point[3]}`),
      ]),
    );
  });
}
document.documentElement.dataset.ready = "";
