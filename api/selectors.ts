import type { LabelSelector } from "./generated/kubernetes.ts";

export type Labels = Readonly<Record<string, string>>;

/** One condition on a label or a field; all of a selector's must hold. */
export interface Requirement {
  readonly key: string;
  readonly operator: "=" | "!=" | "in" | "notin" | "exists" | "!exists";
  readonly values: readonly string[];
}

/**
 * Reads the text form: `app=web,tier in (a, b),!legacy`.
 * @throws {RangeError} that quotes the part which does not parse.
 */
export function parseLabelSelector(source: string): readonly Requirement[] {
  return splitOutsideParentheses(source)
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(parseRequirement);
}

/** Reads `metadata.name=x,status.phase!=Failed`; field selectors know only `=`, `==` and `!=`. */
export function parseFieldSelector(source: string): readonly Requirement[] {
  return source
    .split(",")
    .filter((part) => part.trim() !== "")
    .map((part) => {
      const match = /^\s*([^=!]+?)\s*(==|!=|=)\s*(.*?)\s*$/.exec(part);
      const [, key = "", operator = "", value = ""] = match ?? [];
      if (match === null) throw new RangeError(`invalid selector: '${source}'; can't understand '${part}'`);
      return { key, operator: operator === "!=" ? ("!=" as const) : ("=" as const), values: [value] };
    });
}

/** The requirements of a `LabelSelector` object; an empty one selects everything. */
export function requirementsOf(selector: LabelSelector): readonly Requirement[] {
  const operators = { In: "in", NotIn: "notin", Exists: "exists", DoesNotExist: "!exists" } as const;
  return [
    ...Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({
      key,
      operator: "=" as const,
      values: [value],
    })),
    ...(selector.matchExpressions ?? []).map((expression) => {
      const operator = Object.entries(operators).find(([name]) => name === expression.operator)?.[1];
      if (operator === undefined)
        throw new RangeError(`"${expression.operator}" is not a valid label selector operator`);
      return { key: expression.key, operator, values: expression.values ?? [] };
    }),
  ];
}

/** True when every requirement holds. */
export function matches(requirements: readonly Requirement[], labels: Labels | undefined): boolean {
  return requirements.every((requirement) => holds(requirement, labels?.[requirement.key]));
}

/** True when `labels` has every pair of `wanted`: a Service's or a ReplicationController's selector. */
export function hasLabels(wanted: Labels, labels: Labels | undefined): boolean {
  return Object.entries(wanted).every(([key, value]) => labels?.[key] === value);
}

/** The text form of a `LabelSelector`, as scale subresources and `-o wide` show it. */
export function formatSelector(requirements: readonly Requirement[]): string {
  return requirements
    .map(({ key, operator, values }) => {
      if (operator === "exists") return key;
      if (operator === "!exists") return `!${key}`;
      return operator === "in" || operator === "notin"
        ? `${key} ${operator} (${values.join(",")})`
        : `${key}${operator}${values[0] ?? ""}`;
    })
    .join(",");
}

function holds(requirement: Requirement, value: string | undefined): boolean {
  switch (requirement.operator) {
    case "=":
    case "in":
      return value !== undefined && requirement.values.includes(value);
    case "!=":
    case "notin":
      return value === undefined || !requirement.values.includes(value);
    case "exists":
      return value !== undefined;
    case "!exists":
      return value === undefined;
    default:
      return requirement.operator satisfies never;
  }
}

function parseRequirement(part: string): Requirement {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(part);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    return {
      key,
      operator: operator === "in" ? "in" : "notin",
      values: list.split(",").map((value) => value.trim()),
    };
  }
  const equality = /^([^\s=!()]+)\s*(==|=|!=)\s*([^\s=!()]*)$/.exec(part);
  if (equality !== null) {
    const [, key = "", operator, value = ""] = equality;
    return { key, operator: operator === "!=" ? "!=" : "=", values: [value] };
  }
  const existence = /^(!?)\s*([^\s=!(),]+)$/.exec(part);
  if (existence === null)
    throw new RangeError(`unable to parse requirement: found '${part}', want a label selector`);
  return { key: existence[2] ?? "", operator: existence[1] === "!" ? "!exists" : "exists", values: [] };
}

function splitOutsideParentheses(source: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at < source.length; at += 1) {
    if (source[at] === "(") depth += 1;
    else if (source[at] === ")") depth -= 1;
    else if (source[at] === "," && depth === 0) {
      parts.push(source.slice(from, at));
      from = at + 1;
    }
  }
  parts.push(source.slice(from));
  return parts;
}
