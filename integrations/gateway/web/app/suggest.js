// Autocompletion of /commands: what fits the text at the caret. The drawing is in composer.js.

/** Read GET /v1/commands: [{name, description, fields: [{name, type, required, value, values, description}]}]. */
export function readCommands(body, language) {
  return body.commands.map((command) => ({
    name: command.name, fields: fields(command.schema),
    description: (language.startsWith("zh") && command.description_zh) || command.description,
  }));
}

function fields(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, raw]) => {
    const property = resolve(raw, schema.$defs ?? {});
    return {
      name, type: typeOf(property), required: required.has(name), value: property.default,
      values: property.enum ?? (property.type === "boolean" ? [true, false] : []), description: property.description ?? property.title ?? "",
    };
  });
}

function resolve(property, defs) {
  const reference = property.$ref ?? property.allOf?.[0]?.$ref;
  return reference ? { ...defs[reference.split("/").pop()], ...property } : property;
}

function typeOf(property) {
  if (property.enum) return property.enum.join(" | ");
  if (property.anyOf) return property.anyOf.map(typeOf).join(" | ");
  if (property.type === "array") return `${property.items ? typeOf(property.items) : ""}[]`;
  return property.type ?? "";
}

/**
 * What may be completed at the caret: {start, options: [{insert, label, hint, detail}], exact}. `start` is where the
 * inserted text begins; `exact` says that the text is already complete, so that Enter sends it.
 */
export function suggest(text, caret, commands) {
  const before = text.slice(0, caret);
  const slash = /^\s*[/／]/.exec(before);
  if (!slash || before.includes("\n")) return null;
  const typed = before.slice(slash[0].length);
  const name = /^\S*/.exec(typed)[0];
  if (typed === name) return suggestNames(name, slash[0].length, commands);
  const command = commands.find((each) => each.name === name);
  return command ? suggestFields(command, text, before) : null;
}

function suggestNames(name, start, commands) {
  const wanted = name.toLowerCase();
  const found = commands.map((command) => [rank(command, wanted), command]).filter(([order]) => order < 3);
  found.sort(([a, one], [b, two]) => a - b || one.name.localeCompare(two.name));
  const options = found.map(([, command]) => ({
    insert: command.fields.length ? `${command.name} ` : command.name, label: `/${command.name}`,
    hint: command.fields.map((field) => (field.required ? field.name : `[${field.name}]`)).join(" "), detail: command.description,
  }));
  return options.length ? { start, options, exact: found[0][1].name === wanted } : null;
}

/** 0: the name begins so; 1: contains it; 2: a word of the description begins so; 3: no match. */
function rank({ name, description }, wanted) {
  if (name.startsWith(wanted)) return 0;
  if (name.includes(wanted)) return 1;
  return description.toLowerCase().split(/[^\p{L}\p{N}]+/u).some((word) => word.startsWith(wanted)) ? 2 : 3;
}

function suggestFields(command, text, before) {
  const word = /\S*$/.exec(before)[0];
  const start = before.length - word.length;
  const [key, value] = word.split(/[=＝]/);
  const field = command.fields.find((each) => each.name === key);
  if (value !== undefined) return field ? suggestValues(field, key, value, start) : null;
  const open = command.fields.filter((each) => each.name.startsWith(key) && !new RegExp(`(^|\\s)${each.name}[=＝]`).test(text));
  const missing = open.some((each) => each.required);
  const options = open.map((each) => ({ insert: `${each.name}=`, label: each.name, hint: each.type, detail: each.description, field: each }));
  return options.length ? { start, options, exact: word === "" && !missing } : null;
}

function suggestValues(field, key, value, start) {
  const options = field.values.map(String).filter((each) => each.startsWith(value) && each !== value)
    .map((each) => ({ insert: `${key}=${each} `, label: each, hint: field.name, detail: "" }));
  return options.length ? { start, options, exact: false } : null;
}
