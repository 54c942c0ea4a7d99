"use strict";

// The OpenAPI document, as a page.

function element(name, text, className) {
  const made = document.createElement(name);
  if (text) fill(made, text);
  if (className) made.className = className;
  return made;
}

// A sentence; what stands between backticks is shown as code.
function fill(target, sentence) {
  target.replaceChildren(...sentence.split("`").map((piece, index) => {
    if (index % 2 === 0) return piece;
    const code = document.createElement("code");
    code.textContent = piece;
    return code;
  }));
}

function nameOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(nameOf).join(" or ");
  if (schema.type === "array") return `list of ${nameOf(schema.items)}`;
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  return schema.format === "binary" ? "file" : schema.type || "";
}

function list(entries) {
  const made = element("dl");
  for (const [name, meaning] of entries) {
    const term = element("dt");
    term.append(element("code", name));
    made.append(term, element("dd", meaning));
  }
  return made;
}

function fieldsOf(schema) {
  return Object.entries(schema.properties || {}).map(([name, field]) => [name, [nameOf(field), field.description].filter(Boolean).join(". ")]);
}

function endpoint(path, method, operation) {
  const section = element("section", "", "endpoint");
  const title = element("h2");
  title.append(element("code", `${method.toUpperCase()} ${path}`));
  section.append(title, element("p", operation.description || operation.summary));
  const entries = (operation.parameters || []).map((one) => [one.name, [nameOf(one.schema), one.description].filter(Boolean).join(". ")]);
  for (const [type, body] of Object.entries((operation.requestBody || {}).content || {})) {
    entries.push(...fieldsOf(body.schema).map(([name, meaning]) => [name, `${meaning} (${type})`]));
  }
  for (const [status, answer] of Object.entries(operation.responses)) {
    const schema = answer.content && answer.content["application/json"] && answer.content["application/json"].schema;
    entries.push([status, [answer.description, nameOf(schema)].filter(Boolean).join(" ")]);
  }
  section.append(list(entries));
  return section;
}

async function show() {
  const api = await (await fetch("/openapi.json")).json();
  const here = window.location.origin;
  fill(document.getElementById("about"), api.info.description);
  document.getElementById("example").textContent = [
    `curl -F video=@talk.mp4 -F transcript=@talk.srt ${here}/api/analyses   # answers with an id`,
    `curl ${here}/api/analyses/ID                                           # how far it is`,
    `curl ${here}/api/analyses/ID/result                                    # scores and evidence as JSON`,
    `curl -X DELETE ${here}/api/analyses/ID                                 # removes it for good`,
  ].join("\n");
  const paths = document.getElementById("paths");
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) paths.append(endpoint(path, method, operation));
  }
  paths.append(element("h2", "What is answered"));
  for (const [name, schema] of Object.entries(api.components.schemas).filter(([name]) => !name.includes("Validation"))) {
    const section = element("section", "", "endpoint");
    const title = element("h2");
    title.append(element("code", name));
    section.append(title, element("p", schema.description), list(fieldsOf(schema)));
    paths.append(section);
  }
}

show().catch((error) => { document.getElementById("about").textContent = `The description of the API could not be loaded (${error.message}).`; });
