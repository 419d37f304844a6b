// Shows openapi.json: operations by tag, their parameters, bodies and answers, and a way to try them.
"use strict";

const make = (tag, content, attributes = {}) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  // Text is only ever set as text: nothing in the document becomes markup.
  for (const part of [content].flat()) if (part !== undefined && part !== null) element.append(part);
  return element;
};

const resolve = (root, value) => {
  let found = value;
  while (found && found.$ref) found = found.$ref.slice(2).split("/").reduce((at, name) => at[name], root);
  return found;
};

const kind = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.filter((v) => v !== null).join(" | ");
  if (schema.oneOf) return schema.oneOf.map(kind).join(" or ");
  const types = [schema.type].flat().join(" or ");
  return schema.items ? `${types} of ${kind(schema.items)}` : types;
};

const fields = (root, schema, seen = []) => {
  const name = schema.$ref;
  const full = resolve(root, schema);
  if (!full || !full.properties || seen.includes(name)) return null;
  const rows = Object.entries(full.properties).map(([field, inner]) => {
    const target = inner.oneOf ? inner.oneOf[0] : inner.items || inner;
    const nested = fields(root, target, [...seen, name]);
    const more = nested ? make("details", [make("summary", kind(inner)), nested]) : kind(inner);
    const required = (full.required || []).includes(field) ? " *" : "";
    const limits = ["default", "minimum", "maximum", "exclusiveMinimum"].filter((k) => k in inner).map((k) => `${k} ${inner[k]}`);
    return make("tr", [make("td", make("code", field + required)), make("td", more), make("td", [inner.description, ...limits].filter(Boolean).join("; "))]);
  });
  return make("table", rows);
};

const parameters = (list) => make("table", list.map((p) => make("tr", [
  make("td", make("code", p.name + (p.required ? " *" : ""))), make("td", p.in), make("td", kind(p.schema)), make("td", p.description || ""),
])));

const answers = (root, operation) => Object.entries(operation.responses).map(([status, reference]) => {
  const response = resolve(root, reference);
  const parts = Object.entries(response.content || {}).flatMap(([media, content]) => [
    make("p", make("code", media)), fields(root, content.schema || {}),
    ...Object.values(content.examples || {}).map((e) => make("pre", JSON.stringify(e.value, null, 2))),
  ]);
  return make("details", [make("summary", `${status} ${response.description}`), ...parts]);
});

const attempt = (method, path, operation) => {
  const [media, content] = Object.entries((operation.requestBody || {}).content || {})[0] || [];
  const target = make("input", null, { value: path, "aria-label": "Path and query" });
  const body = media && make("textarea", JSON.stringify(content.example || {}, null, media.includes("ndjson") ? 0 : 2), { rows: 8, "aria-label": "Body" });
  const output = make("pre", "");
  const button = make("button", "Send", { type: "button" });
  button.addEventListener("click", async () => {
    const headers = media ? { "content-type": media } : {};
    const key = document.getElementById("key").value;
    if (key) headers[operation.tags[0] === "admin" ? "x-admin-secret" : "x-api-key"] = key;
    output.textContent = "…";
    try {
      const answer = await fetch(target.value, { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      output.textContent = `${answer.status}\n${shown.slice(0, 20000)}`;
    } catch (error) { output.textContent = String(error); }
  });
  return make("details", [make("summary", "Try it"), target, body, button, output]);
};

const operation = (root, path, method, described) => {
  const bodies = Object.entries((described.requestBody || {}).content || {}).flatMap(([media, content]) => [
    make("p", make("code", media)), fields(root, content.schema), content.example && make("pre", JSON.stringify(content.example, null, 2)),
  ]);
  return make("details", [
    make("summary", [make("span", method.toUpperCase(), { class: `method ${method}` }), " ", make("code", path), " ", described.summary]),
    make("p", described.description), described.parameters.length ? make("h4", "Parameters") : null, parameters(described.parameters),
    bodies.length ? make("h4", "Body") : null, ...bodies, make("h4", "Answers"), ...answers(root, described), attempt(method, path, described),
  ].filter(Boolean), { id: described.operationId });
};

const show = (root) => {
  document.getElementById("about").textContent = `${root.info.description} Version ${root.info.version}.`;
  for (const tag of root.tags) {
    document.getElementById("contents").append(make("a", tag.name, { href: `#${tag.name}` }));
    const found = Object.entries(root.paths).flatMap(([path, methods]) => Object.entries(methods)
      .filter(([, described]) => described.tags.includes(tag.name)).map(([method, described]) => operation(root, path, method, described)));
    document.getElementById("operations").append(make("h2", tag.name, { id: tag.name }), make("p", tag.description), ...found);
  }
};

fetch("/openapi.json").then((answer) => answer.json()).then(show)
  .catch((error) => { document.getElementById("about").textContent = `openapi.json could not be shown: ${error}`; });
