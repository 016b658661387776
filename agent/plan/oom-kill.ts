/** A process that the kernel killed for want of memory. */
export interface OomKill {
  /** Its name, at most 15 letters of it. */
  readonly process: string;
  readonly pid: number;
  /** The cgroup whose limit was reached, as a path; undefined when the whole machine had no memory left. */
  readonly limitedBy: string | undefined;
  /** The cgroup it was in. */
  readonly cgroup: string;
}

/**
 * Reads the line that sums an OOM kill up: `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,
 * mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=tail,pid=4,uid=0`.
 * @returns undefined for any other line.
 * @see mm/oom_kill.c `dump_oom_victim` and mm/memcontrol.c `mem_cgroup_print_oom_context`
 */
export function parseOomKill(line: string): OomKill | undefined {
  const match =
    /^oom-kill:constraint=.*?,(?:global_oom|oom_memcg=(?<limit>[^,]*)),task_memcg=(?<cgroup>[^,]*),task=(?<task>.*),pid=(?<pid>\d+),uid=\d+$/.exec(
      line,
    );
  if (match?.groups === undefined) return undefined;
  const { limit, cgroup = "", task = "", pid = "0" } = match.groups;
  return { process: task, pid: Number(pid), limitedBy: limit, cgroup };
}

/** Ids of containers that a cgroup's path may name: runtimes name it by the id, systemd's driver with a prefix and `.scope`. */
export function containerIdsIn(cgroup: string): readonly string[] {
  return cgroup.match(/[0-9a-f]{64}/g) ?? [];
}

/** Names that one event tells; the others are counted. */
const maxNames = 3;

/**
 * What is said of processes that were killed in a container that runs on.
 * @param memoryLimit of the container, as its Pod spells it; undefined for none.
 */
export function childKillWords(
  kills: readonly OomKill[],
  container: { readonly id: string; readonly name: string; readonly memoryLimit: string | undefined },
): string {
  const named = kills.slice(0, maxNames).map(({ process, pid }) => `${process} (pid ${pid})`);
  const more = kills.length > maxNames ? ` and ${kills.length - maxNames} more` : "";
  const [first] = kills;
  const what = kills.length === 1 ? "process" : "processes";
  const whom = kills.length === 1 ? "it" : "them";
  return `The kernel killed ${what} ${named.join(", ")}${more} of container ${container.name}: ${limitWords(first, container)}. The container runs on without ${whom}`;
}

function limitWords(
  kill: OomKill | undefined,
  { id, memoryLimit }: { readonly id: string; readonly memoryLimit: string | undefined },
): string {
  if (kill?.limitedBy === undefined) return "the node had no memory left";
  if (kill.limitedBy.includes(id))
    return memoryLimit === undefined
      ? "the container's memory limit was reached"
      : `the container's memory limit of ${memoryLimit} was reached`;
  return /[/-]pod[^/]*$/.test(kill.limitedBy)
    ? "the Pod's memory limit was reached"
    : `the memory limit of cgroup ${kill.limitedBy} was reached`;
}
