/** Ids of the host for the user namespaces of Pods. */
export interface IdRange {
  readonly first: number;
  readonly length: number;
}

/** Ids that one Pod gets: all that 16 bits can name, so that any image's users have one. */
export const idsPerPod = 65_536;

/** Without a word of the administrator's: everything but the host's own. Ids have 32 bits. */
const usual: IdRange = { first: idsPerPod, length: 2 ** 32 - idsPerPod };

/**
 * The range that /etc/subuid and /etc/subgid set aside for the user `kubelet`; everything above the host's own ids
 * when they do not name it.
 * @throws Error when they name it otherwise than for Pods: two ranges, two that differ, or one that is no multiple.
 * @see KEP-127, subuid(5)
 */
export function userNamespaceRange(subuid: string, subgid: string): IdRange {
  const uids = rangesOf(subuid);
  const gids = rangesOf(subgid);
  if (uids.length === 0 && gids.length === 0) return usual;
  const wrong = (why: string): Error =>
    new Error(`cannot use the ids of user "kubelet" in /etc/subuid and /etc/subgid: ${why}`);
  const [range] = uids;
  const [groups] = gids;
  if (range === undefined || groups === undefined || uids.length + gids.length !== 2)
    throw wrong("there must be one range in each");
  if (range.first !== groups.first || range.length !== groups.length) throw wrong("they differ");
  if (range.first % idsPerPod !== 0 || range.length % idsPerPod !== 0 || range.first < idsPerPod)
    throw wrong(`both numbers must be multiples of ${idsPerPod}, and not 0`);
  if (range.length === 0 || range.first + range.length > 2 ** 32) throw wrong("there are no such ids");
  return range;
}

/** The first id of a part of the range that nobody has; undefined when all are taken. */
export function freeIds(range: IdRange, taken: ReadonlySet<number>): number | undefined {
  for (let first = range.first; first < range.first + range.length; first += idsPerPod)
    if (!taken.has(first)) return first;
  return undefined;
}

function rangesOf(file: string): readonly IdRange[] {
  return file.split("\n").flatMap((line) => {
    const [, first, length] = /^kubelet:(\d+):(\d+)\s*$/.exec(line) ?? [];
    return first === undefined || length === undefined
      ? []
      : [{ first: Number(first), length: Number(length) }];
  });
}
