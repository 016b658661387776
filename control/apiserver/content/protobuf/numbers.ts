import { fieldNumbers } from "./field-numbers.ts";

/** What a field number stands for in a message. */
export interface NumberedField {
  /** The JSON name, or the model whose fields are embedded. */
  readonly name: string;
  readonly embedded: boolean;
}

const parsed = new Map<string, ReadonlyMap<number, NumberedField>>();

/** @returns undefined for a model without a table. */
export function numbersOf(model: string): ReadonlyMap<number, NumberedField> | undefined {
  const known = parsed.get(model);
  if (known !== undefined) return known;
  const source = Object.hasOwn(fieldNumbers, model) ? fieldNumbers[model] : undefined;
  if (source === undefined) return undefined;
  const numbers = new Map(
    source.split(" ").map((each) => {
      const [name = "", number = ""] = each.split("=");
      const embedded = name.startsWith("^");
      return [Number(number), { name: embedded ? name.slice(1) : name, embedded }] as const;
    }),
  );
  parsed.set(model, numbers);
  return numbers;
}
