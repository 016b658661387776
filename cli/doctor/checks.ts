import { access, readFile, statfs } from "node:fs/promises";
import path from "node:path";
import { readIfThere } from "#lib/read-if-there.ts";

/** One thing a node needs of its machine. */
export interface Check {
  readonly what: string;
  readonly level: "ok" | "warning" | "missing";
  readonly why: string;
  /** The command that mends it; "" when nothing is to be done. */
  readonly mend: string;
}

const programs = [
  {
    program: "iptables-restore",
    package: "iptables",
    level: "missing",
    why: "the proxy writes its rules with it",
  },
  { program: "ip", package: "iproute2", level: "warning", why: "people need it to look at the network" },
  { program: "runc", package: "runc", level: "warning", why: "containerd starts containers with it" },
  {
    program: "conntrack",
    package: "conntrack",
    level: "warning",
    why: "people need it to look at connections",
  },
  { program: "mount", package: "mount", level: "missing", why: "volumes are mounted with it" },
] as const;

/** Looks at this machine and changes nothing. */
export async function checkMachine(): Promise<readonly Check[]> {
  return await Promise.all([
    ...programs.map(checkProgram),
    checkKernel(),
    checkCgroups(),
    checkForwarding(),
    checkSwap(),
    checkDisk("/var/lib"),
  ]);
}

async function checkProgram(need: (typeof programs)[number]): Promise<Check> {
  const found = await findProgram(need.program);
  return found === undefined
    ? {
        what: `program ${need.program}`,
        level: need.level,
        why: `not on this machine; ${need.why}`,
        mend: `apt-get install ${need.package}`,
      }
    : { what: `program ${need.program}`, level: "ok", why: found, mend: "" };
}

async function checkKernel(): Promise<Check> {
  const release = (await readFile("/proc/sys/kernel/osrelease", "utf8")).trim();
  const [major = 0, minor = 0] = release.split(".").map(Number);
  return major > 4 || (major === 4 && minor >= 19)
    ? { what: "kernel", level: "ok", why: release, mend: "" }
    : { what: "kernel", level: "missing", why: `${release} is older than 4.19`, mend: "boot a newer kernel" };
}

async function checkCgroups(): Promise<Check> {
  const v2 = await readIfThere("/sys/fs/cgroup/cgroup.controllers");
  const controllers =
    v2 === undefined || v2.trim() === ""
      ? ((await readIfThere("/proc/cgroups")) ?? "")
          .split("\n")
          .filter((line) => line.endsWith("\t1"))
          .map((line) => line.split("\t")[0] ?? "")
      : v2.trim().split(" ");
  const lacking = ["cpu", "memory", "pids"].filter((name) => !controllers.includes(name));
  return lacking.length === 0
    ? { what: "cgroups", level: "ok", why: v2 === undefined || v2.trim() === "" ? "v1" : "v2", mend: "" }
    : {
        what: "cgroups",
        level: "missing",
        why: `no controller ${lacking.join(", ")}`,
        mend: "boot with cgroup_enable=memory,cpu,pids",
      };
}

async function checkForwarding(): Promise<Check> {
  const forward = (await readIfThere("/proc/sys/net/ipv4/ip_forward"))?.trim();
  return forward === "1"
    ? { what: "IPv4 forwarding", level: "ok", why: "on", mend: "" }
    : {
        what: "IPv4 forwarding",
        level: "warning",
        why: "off; keelson switches it on when it starts",
        mend: "sysctl -w net.ipv4.ip_forward=1",
      };
}

async function checkSwap(): Promise<Check> {
  const swaps = ((await readIfThere("/proc/swaps")) ?? "").trim().split("\n").slice(1);
  return swaps.length === 0
    ? { what: "swap", level: "ok", why: "off", mend: "" }
    : {
        what: "swap",
        level: "warning",
        why: "on; limits of memory do not count it; keelson node takes it only with --fail-swap-on=false",
        mend: "swapoff -a",
      };
}

async function checkDisk(folder: string): Promise<Check> {
  const { bavail, bsize, blocks } = await statfs(folder);
  const freeBytes = bavail * bsize;
  const gigabytes = (freeBytes / 1e9).toFixed(1);
  return freeBytes > 1e9 && bavail / blocks > 0.1
    ? { what: `disk ${folder}`, level: "ok", why: `${gigabytes} GB free`, mend: "" }
    : {
        what: `disk ${folder}`,
        level: "warning",
        why: `${gigabytes} GB free; nothing is evicted, so what fills up fails`,
        mend: "make room",
      };
}

/** The program's path, searched as a shell with root's PATH would. */
async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]) {
    const file = path.join(folder, name);
    if (
      await access(file).then(
        () => true,
        () => false,
      )
    )
      return file;
  }
  return undefined;
}
