/** One field of a Kubernetes object as it stands on the wire. */
export interface ModelField {
  readonly name: string;
  /** `string`, `number`, `boolean`, `any`, `IntOrString`, `Quantity`, a model's name, `Array<T>` or `{ [key: string]: T; }`. */
  readonly type: string;
  /** OpenAPI format: `int32`, `int64`, `date-time`, `byte`, ... or "". */
  readonly format: string;
  readonly required: boolean;
  readonly description: string;
}

/** One Kubernetes type: its name here, and its fields in the order of the source. */
export interface Model {
  readonly name: string;
  readonly description: string;
  readonly fields: readonly ModelField[];
}

/**
 * Reads one generated model of `@kubernetes/client-node`.
 * @returns undefined for a file that holds no model (a barrel, the serializer).
 */
export function parseModel(declaration: string, code: string): Model | undefined {
  const className = /export declare class (\w+)/.exec(declaration)?.[1];
  const map = /\.attributeTypeMap = (\[[\s\S]*?\n\]);/.exec(code)?.[1];
  if (className === undefined || map === undefined) return undefined;
  const attributes: unknown = JSON.parse(map);
  if (!Array.isArray(attributes)) return undefined;
  const head = declaration.slice(0, declaration.indexOf("export declare class"));
  return {
    name: shortName(className),
    description: comment(head.slice(head.lastIndexOf("/**"))),
    fields: attributes.map((attribute: Record<string, string>) => {
      const name = attribute["name"] ?? "";
      const property = new RegExp(`(/\\*\\*(?:(?!\\*/)[\\s\\S])*\\*/)?\\s*'${name}'(\\??):`).exec(
        declaration,
      );
      return {
        name: attribute["baseName"] ?? name,
        type: (attribute["type"] ?? "any").replaceAll(/\b[A-Z]\w+\b/g, (word) =>
          word === "Array" ? word : shortName(word),
        ),
        format: attribute["format"] ?? "",
        required: property?.[2] === "",
        description: comment(property?.[1] ?? ""),
      };
    }),
  };
}

/** `V1Pod` is `Pod` here; types of other versions keep theirs (`V2HorizontalPodAutoscaler`). */
function shortName(className: string): string {
  return /^V1[A-Z]/.test(className) ? className.slice(2) : className;
}

function comment(block: string): string {
  return block
    .replace(/^\s*\/\*\*/, "")
    .replace(/\*\/\s*$/, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trim())
    .join(" ")
    .replaceAll(/\\(['"])/g, "$1")
    .trim();
}
