/** A Pod by every name it goes by. */
export interface PodNames {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** For a static Pod the name in its file: without the node's. */
  readonly shortName: string;
  /** Its source does not have it any more: a newer one of that name goes first. */
  readonly isGone: boolean;
}

/** How somebody asks for a Pod. */
export interface PodWish {
  /** A name, or a uid. */
  readonly name: string;
  /** undefined: `default`, or the one namespace that has a Pod of this name here. */
  readonly namespace: string | undefined;
}

/** The Pod that is meant, or what to tell who asked. */
export type PodFound =
  | { readonly found: true; readonly uid: string }
  | { readonly found: false; readonly message: string };

const shownNames = 5;

/** Finds a Pod of this node by uid or name; names that are near are told when there is none. */
export function findPod(wish: PodWish, node: string, known: readonly PodNames[]): PodFound {
  const { name, namespace } = wish;
  const byUid = known.find(({ uid }) => uid === name);
  if (byUid !== undefined) return { found: true, uid: byUid.uid };
  const named = known
    .filter(
      (pod) =>
        (pod.name === name || pod.shortName === name) && pod.namespace === (namespace ?? pod.namespace),
    )
    .toSorted(
      (a, b) => Number(a.isGone) - Number(b.isGone) || Number(b.name === name) - Number(a.name === name),
    );
  const chosen = named.find((pod) => pod.namespace === (namespace ?? "default")) ?? named[0];
  const namespaces = new Set(named.map((pod) => pod.namespace));
  if (chosen !== undefined && (chosen.namespace === (namespace ?? "default") || namespaces.size === 1))
    return { found: true, uid: chosen.uid };
  if (chosen !== undefined) {
    const list = [...namespaces].toSorted().map((one) => `${one}/${name}`);
    return {
      found: false,
      message: `several Pods are called "${name}": ${list.join(", ")}; say which with -n`,
    };
  }
  const asked = namespace === undefined ? name : `${namespace}/${name}`;
  return { found: false, message: `no Pod "${asked}" is on node "${node}"${nearWords(name, known)}` };
}

function nearWords(name: string, known: readonly PodNames[]): string {
  const near = known
    .map((pod) => ({ pod, distance: Math.min(distanceOf(name, pod.name), distanceOf(name, pod.shortName)) }))
    .filter(({ pod, distance }) => distance <= 2 || pod.name.includes(name))
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, shownNames)
    .map(({ pod }) => `${pod.namespace}/${pod.name}`);
  if (near.length > 0) return `; near: ${near.join(", ")}`;
  return known.length === 0 ? ": it has none at all" : `; it has ${known.length} others`;
}

/** Letters to change, add or leave out (Levenshtein), for names of up to 63 letters. */
function distanceOf(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, place) => place);
  for (let i = 0; i < a.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j += 1) {
      const change = (row[j] ?? 0) + (a.charAt(i) === b.charAt(j) ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
