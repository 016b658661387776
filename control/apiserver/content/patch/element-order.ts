import { equal, isJson } from "../json.ts";

/**
 * Puts a merged list into the order a patch asks for with `$setElementOrder`. Elements that the patch
 * does not name (others added them) keep their place before the named ones they stood in front of.
 */
export function elementOrder(of: {
  /** The merged list. */
  readonly merged: readonly unknown[];
  /** The list as it was on the server. */
  readonly before: readonly unknown[];
  /** Elements or their keys, in the order wished for. */
  readonly order: readonly unknown[];
  /** "" for a list of primitives. */
  readonly mergeKey: string;
}): readonly unknown[] {
  const keyOf = (value: unknown): unknown =>
    of.mergeKey === "" || !isJson(value) ? value : value[of.mergeKey];
  const placeIn = (items: readonly unknown[], value: unknown): number =>
    items.findIndex((each) => equal(keyOf(each), keyOf(value)));
  const named = of.merged
    .filter((each) => placeIn(of.order, each) !== -1)
    .toSorted((left, right) => placeIn(of.order, left) - placeIn(of.order, right));
  const others = of.merged.filter((each) => placeIn(of.order, each) === -1);
  const result: unknown[] = [];
  let next = 0;
  for (const each of named) {
    const place = placeIn(of.before, each);
    for (; place !== -1 && next < others.length; next += 1) {
      const otherPlace = placeIn(of.before, others[next]);
      if (otherPlace === -1 || otherPlace > place) break;
      result.push(others[next]);
    }
    result.push(each);
  }
  return [...result, ...others.slice(next)];
}
