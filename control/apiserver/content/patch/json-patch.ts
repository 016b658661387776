import { equal, isJson, type Json, text } from "../json.ts";
import { badPatch, doesNotApply, tooManyOperations } from "./patch-errors.ts";

const maxOperations = 10_000;
const maxCopiedBytes = 3 * 1024 * 1024;

/** RFC 6902. Neither argument is changed. @throws ApiError 400, 413 or 422. */
export function jsonPatch(doc: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badPatch("json: cannot unmarshal patch: it must be a list of operations");
  if (patch.length > maxOperations) throw tooManyOperations(maxOperations, patch.length);
  let result = doc;
  let copiedBytes = 0;
  for (const operation of patch) {
    if (!isJson(operation)) throw badPatch("json: cannot unmarshal patch: an operation must be an object");
    if (operation["op"] === "copy") {
      copiedBytes += JSON.stringify(read(result, pointer(operation, "from")) ?? null).length;
      if (copiedBytes > maxCopiedBytes) {
        throw doesNotApply(
          `Unable to complete the copy, the accumulated size increase of copy is ${copiedBytes}, exceeding the limit ${maxCopiedBytes}`,
        );
      }
    }
    result = applyOperation(result, operation);
  }
  return result;
}

function applyOperation(doc: unknown, operation: Json): unknown {
  const path = pointer(operation, "path");
  switch (operation["op"]) {
    case "add":
      return write(doc, path, valueOf(operation), "insert");
    case "replace":
      return write(doc, path, valueOf(operation), "replace");
    case "remove":
      return remove(doc, path);
    case "copy":
      return write(doc, path, read(doc, pointer(operation, "from")), "insert");
    case "move": {
      const from = pointer(operation, "from");
      return write(remove(doc, from), path, read(doc, from), "insert");
    }
    case "test":
      if (!equal(readOrNull(doc, path), valueOf(operation))) {
        throw doesNotApply(`testing value ${text(operation["path"])} failed: test failed`);
      }
      return doc;
    default:
      throw badPatch(`Unexpected kind: ${text(operation["op"]) || "unknown"}`);
  }
}

function valueOf(operation: Json): unknown {
  if (!("value" in operation)) throw badPatch(`operation "${text(operation["op"])}" needs a value`);
  return operation["value"];
}

/** RFC 6901: "" is the whole document. */
function pointer(operation: Json, key: "path" | "from"): readonly string[] {
  const source = operation[key];
  if (typeof source !== "string") throw badPatch(`operation "${text(operation["op"])}" needs a ${key}`);
  if (source === "") return [];
  if (!source.startsWith("/")) throw doesNotApply(`${key} "${source}" must start with "/"`);
  return source
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

const missing = (path: readonly string[]): Error =>
  doesNotApply(`operation does not apply: doc is missing path: "/${path.join("/")}": missing value`);

/** Negative indexes count from the end, as upstream's library allows. */
function index(part: string, length: number, path: readonly string[]): number {
  if (!/^-?(0|[1-9]\d*)$/.test(part)) throw missing(path);
  const number = Number(part);
  const found = number < 0 ? length + number : number;
  if (found < 0 || found >= length) throw missing(path);
  return found;
}

function read(doc: unknown, path: readonly string[]): unknown {
  let here = doc;
  for (const part of path) {
    if (Array.isArray(here)) here = here[index(part, here.length, path)];
    else if (isJson(here) && Object.hasOwn(here, part)) here = here[part];
    else throw missing(path);
  }
  return here;
}

/** `test` takes an absent member for null, as upstream's library does. */
function readOrNull(doc: unknown, path: readonly string[]): unknown {
  const last = path.at(-1);
  if (last === undefined) return doc;
  const parent = read(doc, path.slice(0, -1));
  return isJson(parent) && !Object.hasOwn(parent, last) ? null : read(doc, path);
}

function write(doc: unknown, path: readonly string[], value: unknown, how: "insert" | "replace"): unknown {
  return change(
    doc,
    path,
    path,
    (parent, last) => {
      if (Array.isArray(parent)) {
        if (how === "replace") return parent.with(index(last, parent.length, path), value);
        const position = last === "-" ? parent.length : index(last, parent.length + 1, path);
        return parent.toSpliced(position, 0, value);
      }
      if (!isJson(parent)) throw missing(path);
      if (how === "replace" && !Object.hasOwn(parent, last)) throw missing(path);
      return { ...parent, [last]: value };
    },
    value,
  );
}

function remove(doc: unknown, path: readonly string[]): unknown {
  return change(
    doc,
    path,
    path,
    (parent, last) => {
      if (Array.isArray(parent)) return parent.toSpliced(index(last, parent.length, path), 1);
      if (!isJson(parent) || !Object.hasOwn(parent, last)) throw missing(path);
      const { [last]: _removed, ...rest } = parent;
      return rest;
    },
    null,
  );
}

/** A copy of the document in which the parent of the path's end is changed. */
function change(
  here: unknown,
  rest: readonly string[],
  path: readonly string[],
  edit: (parent: unknown, last: string) => unknown,
  root: unknown,
): unknown {
  const [part, ...deeper] = rest;
  if (part === undefined) return root;
  if (deeper.length === 0) return edit(here, part);
  if (Array.isArray(here)) {
    const position = index(part, here.length, path);
    return here.with(position, change(here[position], deeper, path, edit, root));
  }
  if (!isJson(here) || !Object.hasOwn(here, part)) throw missing(path);
  return { ...here, [part]: change(here[part], deeper, path, edit, root) };
}
