import { isJson, type Json, list, record, scalar } from "../json.ts";
import { type FieldType, modelOf } from "#api/schema.ts";
import { mergeRule } from "./merge-keys.ts";

/**
 * The fields of an object as server-side apply counts them: path -> value. A path is the elements of
 * FieldsV1 (`f:spec`, `k:{"name":"a"}`, `v:"x"`) joined by {@link separator}; a list element that is
 * itself owned has the value {@link element}.
 */
export type Fields = ReadonlyMap<string, unknown>;

export const separator = "\u0000";
/** The value of a path that stands for an element of a keyed list or of a set. */
export const element: unique symbol = Symbol("element");

/** Lists whose elements are told apart by more, or by other members, than a strategic merge patch uses. */
const listKeys: Readonly<Record<string, readonly string[]>> = {
  "Container.ports": ["containerPort", "protocol"],
  "EphemeralContainer.ports": ["containerPort", "protocol"],
  "ServiceSpec.ports": ["port", "protocol"],
  "PodSpec.topologySpreadConstraints": ["topologyKey", "whenUnsatisfiable"],
  "ResourceRequirements.claims": ["name"],
};
const keyDefaults: Json = { protocol: "TCP" };

/** Maps and structs that are owned as a whole. */
const atomic: ReadonlySet<string> = new Set([
  "PodSpec.nodeSelector",
  "ServiceSpec.selector",
  "ReplicationControllerSpec.selector",
  "LabelSelector",
  "ObjectReference",
  "LocalObjectReference",
  "OwnerReference",
  "TypedLocalObjectReference",
  "SecretKeySelector",
  "ConfigMapKeySelector",
  "ObjectFieldSelector",
  "ResourceFieldSelector",
  "NodeSelector",
  "CrossVersionObjectReference",
]);

/** Members that nobody owns: identity, and what the server writes. */
const unowned: ReadonlySet<string> = new Set([
  "apiVersion",
  "kind",
  ...[
    "name",
    "namespace",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "resourceVersion",
    "generateName",
  ].map((each) => `metadata.${each}`),
]);

/** The members that tell the elements of a list apart: undefined for an atomic list, none for a set. */
export function keysOf(model: string, field: string): readonly string[] | undefined {
  const own = listKeys[`${model}.${field}`];
  if (own !== undefined) return own;
  const { key } = mergeRule(model, field);
  if (key === undefined) return undefined;
  return key === "" ? [] : [key];
}

export const isAtomic = (model: string, field: string, type: FieldType): boolean =>
  atomic.has(`${model}.${field}`) || (type.is === "model" && atomic.has(type.model));

/** `k:{"name":"a"}`: keys in order of names, so that equal elements have equal paths. */
export function elementPath(value: unknown, keys: readonly string[]): string {
  if (keys.length === 0) return `v:${JSON.stringify(value)}`;
  const members = keys
    .toSorted()
    .map((key) => [key, record(value)[key] ?? keyDefaults[key] ?? null] as const);
  return `k:${JSON.stringify(Object.fromEntries(members))}`;
}

/** Every field an object sets. @param model a name of `api/generated/schema.json` */
export function fieldsOf(model: string, object: Json): Fields {
  const found = new Map<string, unknown>();
  walkModel(model, object, [], found, (name) => !unowned.has(name));
  return found;
}

function walkModel(
  model: string,
  object: Json,
  path: readonly string[],
  found: Map<string, unknown>,
  owned: (name: string) => boolean,
): void {
  const fields = modelOf(model)?.fields;
  for (const [name, value] of Object.entries(object)) {
    const type = fields?.get(name)?.type ?? { is: "any" };
    if (value === undefined || value === null || !owned(name)) continue;
    const inner =
      path.length === 0 && name === "metadata" ? (key: string) => owned(`metadata.${key}`) : () => true;
    walkValue(model, name, type, value, [...path, `f:${name}`], found, inner);
  }
}

function walkValue(
  model: string,
  name: string,
  type: FieldType,
  value: unknown,
  path: readonly string[],
  found: Map<string, unknown>,
  owned: (name: string) => boolean,
): void {
  const whole = (): void => void found.set(path.join(separator), value);
  if (isAtomic(model, name, type)) return whole();
  if (type.is === "model" && isJson(value) && Object.keys(value).length > 0) {
    return walkModel(type.model, value, path, found, owned);
  }
  if (type.is === "map" && isJson(value) && Object.keys(value).length > 0) {
    for (const [key, each] of Object.entries(value)) found.set([...path, `f:${key}`].join(separator), each);
    return;
  }
  const keys = type.is === "list" ? keysOf(model, name) : undefined;
  if (type.is !== "list" || keys === undefined) return whole();
  for (const each of list(value)) {
    const here = [...path, elementPath(each, keys)];
    found.set(here.join(separator), element);
    if (type.of.is === "model" && isJson(each)) walkModel(type.of.model, each, here, found, () => true);
  }
}

/** Paths as managedFields keep them. */
export function toFieldsV1(paths: Iterable<string>): Json {
  type Tree = Map<string, Tree>;
  const root: Tree = new Map();
  const ends = new Set<Tree>();
  for (const path of paths) {
    let here = root;
    for (const part of path.split(separator)) {
      const next: Tree = here.get(part) ?? new Map();
      here.set(part, next);
      here = next;
    }
    ends.add(here);
  }
  const render = (tree: Tree): Json => ({
    // "." says that the element itself is owned, besides what stands in it.
    ...(ends.has(tree) && tree.size > 0 ? { ".": {} } : {}),
    ...Object.fromEntries([...tree].map(([key, inner]) => [key, render(inner)])),
  });
  return render(root);
}

/** The paths of a managedFields entry; what is malformed is nothing. */
export function fromFieldsV1(fieldsV1: unknown): ReadonlySet<string> {
  const paths = new Set<string>();
  const walk = (tree: Json, path: readonly string[]): void => {
    if (path.length > 100) return;
    const inner = Object.entries(tree).filter(([key]) => key !== ".");
    if (path.length > 0 && ("." in tree || inner.length === 0)) paths.add(path.join(separator));
    for (const [key, value] of inner) walk(record(value), [...path, key]);
  };
  walk(record(fieldsV1), []);
  return paths;
}

/** `.spec.containers[name="a"].image`, as conflicts name fields. */
export function showPath(path: string): string {
  return path
    .split(separator)
    .map((part) => {
      if (part.startsWith("f:")) return `.${part.slice(2)}`;
      if (part.startsWith("v:")) return `[=${part.slice(2)}]`;
      const keys: unknown = JSON.parse(part.slice(2));
      const shown = Object.entries(record(keys)).map(
        ([key, value]) => `${key}=${typeof value === "string" ? JSON.stringify(value) : scalar(value)}`,
      );
      return `[${shown.join(",")}]`;
    })
    .join("");
}
