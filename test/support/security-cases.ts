import { existsSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Container, PodSpec } from "#api/generated/kubernetes.ts";
import { findCgroups, readCgroup } from "#linux/cgroup.ts";
import { run } from "./run-command.ts";

/** What a process gets when a Pod asks for this. */
export interface SecurityCase {
  readonly name: string;
  readonly spec?: Partial<PodSpec>;
  /** The container that tells. */
  readonly main?: Partial<Container>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Its words, run by a shell as its first process. */
  readonly script: string;
  /** What they print. */
  readonly says?: readonly RegExp[];
  /** What they do not. */
  readonly notSays?: readonly RegExp[];
  /** Instead: the reason and the message with which the Pod or the container is refused. */
  readonly refused?: RegExp;
  /** What happens on the node while it runs. @param cgroup the path of its Pod's, below the hierarchies' roots. */
  readonly meanwhile?: (cgroup: () => string) => Promise<void>;
}

/** Where the cases run. */
export interface SecurityPlace {
  /** Names of images: root's, and of the same with a user by number and by name. */
  readonly images: { readonly root: string; readonly number: string; readonly name: string };
  /** The name of the network namespace that the runtime calls the host's. */
  readonly netns: string;
  /** Whether the runtime can mount images. */
  readonly imageVolumes: boolean;
  /** A directory of a shared mount, for volumes. */
  readonly shared: string;
  readonly waitFor: (what: string, holds: () => boolean | Promise<boolean>) => Promise<void>;
}

/** Users and groups of the images: ada, 1000, of the groups ada and team. */
export const securityUsers = {
  users: "ada:x:1000:1000:ada:/:/bin/sh\n",
  groups: "ada:x:1000:\nteam:x:50000:ada\n",
};

/** A profile that lets everything through but one call, which fails with EPERM. */
export function profileWithout(...calls: readonly string[]): string {
  return JSON.stringify({
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: calls, action: "SCMP_ACT_ERRNO" }],
  });
}

const hasAppArmor: boolean =
  existsSync("/sys/module/apparmor/parameters/enabled") &&
  readFileSync("/sys/module/apparmor/parameters/enabled", "utf8").startsWith("Y");

const ids = "grep -E '^(Uid|Gid|Groups)' /proc/self/status";
const caps = "grep Cap /proc/self/status";
const seccomp = "grep Seccomp: /proc/self/status; mkdir /tmp/x; chmod 755 /tmp; echo ended";
const localhost = (name: string) => ({ type: "Localhost", localhostProfile: name });
const cap = (...bits: readonly number[]): string =>
  bits
    .reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n)
    .toString(16)
    .padStart(16, "0");
/** The capabilities that runtimes give without being asked (capabilities(7)). */
const usualCaps = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
/** Those that a process of this machine can have. */
const allCaps = /^CapBnd:\t(\w+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
const noAppArmor = /^AppArmor .*Cannot enforce AppArmor: AppArmor is not enabled on the host$/;
const netAdmin = 12;
const netBind = 10;

/**
 * One table for every runtime. The agent's directory of seccomp profiles has `no-mkdir.json` and `no-chmod.json`. Each
 * case is a Pod of its own; all may run at once.
 */
export function securityCases(place: SecurityPlace): readonly SecurityCase[] {
  const { images, netns, shared, waitFor, imageVolumes } = place;
  const hostNetns = `net:[${statSync(`/run/netns/${netns}`).ino}]`;
  const space = (kind: string): string => readlinkSync(`/proc/self/ns/${kind}`);
  const spaces = "for i in net pid ipc uts mnt; do busybox readlink /proc/self/ns/$i; done";
  const literal = (text: string): RegExp => new RegExp(`^${text.replaceAll(/[[\]]/g, "\\$&")}$`, "m");
  const inHost = (name: string): string => path.join(shared, name);
  const volume = (name: string): Pick<PodSpec, "volumes"> => ({
    volumes: [{ name: "v", hostPath: { path: inHost(name), type: "DirectoryOrCreate" } }],
  });
  const mounted = (mountPropagation?: string): Partial<Container> => ({
    volumeMounts: [
      { name: "v", mountPath: "/v", ...(mountPropagation === undefined ? {} : { mountPropagation }) },
    ],
  });
  /** The Pod is ready, then the node mounts something below its volume, then it looks. */
  const mountBelow = (name: string) => async (): Promise<void> => {
    await waitFor(`${name} is ready`, () => existsSync(inHost(`${name}/ready`)));
    await run("mount", "-t", "tmpfs", "none", inHost(`${name}/below`));
    await writeFile(inHost(`${name}/below/file`), "");
    await writeFile(inHost(`${name}/done`), "");
  };
  const lookBelow =
    "mkdir /v/below; touch /v/ready; until [ -e /v/done ]; do sleep 0.05; done; ls /v/below; echo looked";
  return [
    {
      name: "SC1: the container's user comes before the Pod's, groups are added",
      spec: {
        securityContext: {
          runAsUser: 2_000,
          runAsGroup: 3_000,
          supplementalGroups: [4_000, 4_001],
          fsGroup: 5_000,
        },
        volumes: [{ name: "v", emptyDir: {} }],
      },
      main: { securityContext: { runAsUser: 2_001 }, volumeMounts: [{ name: "v", mountPath: "/v" }] },
      script: `${ids}; touch /v/file; stat -c 'made %u %g' /v/file`,
      says: [
        /^Uid:\t2001\t2001\t2001\t2001$/m,
        /^Gid:\t3000\t3000\t3000\t3000$/m,
        /^Groups:.*\b4000\b/m,
        /^Groups:.*\b4001\b/m,
        /^Groups:.*\b5000\b/m,
        /^made 2001 5000$/m,
      ],
    },
    {
      name: "SC1: the container's group comes before the Pod's",
      spec: { securityContext: { runAsUser: 2_000, runAsGroup: 3_000 } },
      main: { securityContext: { runAsGroup: 3_001 } },
      script: ids,
      says: [/^Uid:\t2000\t/m, /^Gid:\t3001\t/m],
      notSays: [/3000/],
    },
    {
      name: "SC1: a group alone goes with the image's user, by number and by name",
      spec: {
        securityContext: { runAsGroup: 3_000 },
        initContainers: [
          {
            name: "number",
            image: images.number,
            command: ["/bin/sh", "-c", "[ $(id -u):$(id -g) = 1000:3000 ]"],
          },
        ],
      },
      main: { image: images.name },
      script: ids,
      says: [/^Uid:\t1000\t/m, /^Gid:\t3000\t/m],
    },
    {
      name: "SC1: Merge adds the image's groups of the user to the Pod's",
      spec: {
        securityContext: {
          runAsUser: 1_000,
          supplementalGroups: [60_000],
          supplementalGroupsPolicy: "Merge",
        },
      },
      script: ids,
      says: [/^Groups:.*\b50000\b/m, /^Groups:.*\b60000\b/m],
    },
    {
      name: "SC1: Strict is refused where the runtime would merge",
      spec: { securityContext: { runAsUser: 1_000, supplementalGroupsPolicy: "Strict" } },
      script: ids,
      refused: /^SupplementalGroupsPolicyNotSupported .*not supported in this node/,
    },
    {
      name: "SC1: runAsNonRoot lets an image with a number for a user run",
      spec: { securityContext: { runAsNonRoot: true } },
      main: { image: images.number },
      script: ids,
      says: [/^Uid:\t1000\t/m],
    },
    {
      name: "SC1: runAsNonRoot refuses an image whose user is root",
      spec: { securityContext: { runAsNonRoot: true } },
      script: ids,
      refused: /^CreateContainerConfigError container has runAsNonRoot and image will run as root/,
    },
    {
      name: "SC1: runAsNonRoot refuses an image whose user is a name",
      spec: { securityContext: { runAsNonRoot: true } },
      main: { image: images.name },
      script: ids,
      refused:
        /^CreateContainerConfigError container has runAsNonRoot and image has non-numeric user \(ada\)/,
    },
    {
      name: "SC2: a container has the usual capabilities and may gain more",
      script: `${caps}; grep NoNewPrivs /proc/self/status`,
      says: [
        new RegExp(`^CapEff:\t${cap(...usualCaps)}$`, "m"),
        new RegExp(`^CapBnd:\t${cap(...usualCaps)}$`, "m"),
        /^NoNewPrivs:\t0$/m,
      ],
    },
    {
      name: "SC2: capabilities are added and dropped by name, with CAP_ or without",
      main: { securityContext: { capabilities: { add: ["NET_ADMIN", "CAP_SYS_TIME"], drop: ["MKNOD"] } } },
      script: caps,
      says: [new RegExp(`^CapEff:\t${cap(...usualCaps.filter((bit) => bit !== 27), netAdmin, 25)}$`, "m")],
    },
    {
      name: "SC2: ALL is dropped but for what is added",
      main: { securityContext: { capabilities: { add: ["NET_BIND_SERVICE"], drop: ["ALL"] } } },
      script: caps,
      says: [new RegExp(`^CapEff:\t${cap(netBind)}$`, "m"), new RegExp(`^CapBnd:\t${cap(netBind)}$`, "m")],
    },
    {
      name: "SC2 SC3: a privileged container has what the node has, and no filter",
      spec: { securityContext: { seccompProfile: localhost("no-mkdir.json") } },
      main: { securityContext: { privileged: true } },
      script: `${caps}; ${seccomp}; grep -E ' (/proc|/sys)(/timer_list)? ' /proc/self/mountinfo; ls -l /dev/kmsg`,
      says: [
        // A runtime may not know the newest ones, of bit 38 and above.
        new RegExp(`^CapEff:\t\\w*${allCaps.slice(-9)}$`, "m"),
        /^Seccomp:\t0$/m,
        / \/proc rw/m,
        / \/sys rw/m,
        /dev\/kmsg$/m,
      ],
      notSays: [/\/proc\/./, /not permitted/],
    },
    {
      name: "SC2: no privileges are gained where that is forbidden",
      main: { securityContext: { allowPrivilegeEscalation: false } },
      script: "grep NoNewPrivs /proc/self/status",
      says: [/^NoNewPrivs:\t1$/m],
    },
    {
      name: "SC2: a read-only root takes no file, a volume in it does",
      spec: { volumes: [{ name: "v", emptyDir: {} }] },
      main: {
        securityContext: { readOnlyRootFilesystem: true },
        volumeMounts: [{ name: "v", mountPath: "/v" }],
      },
      script: "touch /x; touch /v/x && echo volume",
      says: [/Read-only file system/, /^volume$/m],
    },
    {
      name: "SC2: parts of /proc are masked and read-only",
      script: "grep ' /proc' /proc/self/mounts",
      // Not every kernel has every file of the list; these are always there.
      says: [/ \/proc\/timer_list tmpfs /, / \/proc\/sys proc ro/, / \/proc\/fs proc ro/],
    },
    {
      name: "SC2: procMount Unmasked shows all of /proc",
      main: { securityContext: { procMount: "Unmasked" } },
      script: "grep ' /proc' /proc/self/mounts",
      says: [/^proc \/proc proc rw/m],
      notSays: [/ \/proc\/./],
    },
    {
      name: "SC3: without a word there is no filter",
      script: seccomp,
      says: [/^Seccomp:\t0$/m],
    },
    {
      name: "SC3: RuntimeDefault is the runtime's filter",
      spec: { securityContext: { seccompProfile: { type: "RuntimeDefault" } } },
      script: seccomp,
      says: [/^Seccomp:\t2$/m],
      notSays: [/not permitted/],
    },
    {
      name: "SC3: the container's Unconfined comes before the Pod's profile",
      spec: { securityContext: { seccompProfile: localhost("no-mkdir.json") } },
      main: { securityContext: { seccompProfile: { type: "Unconfined" } } },
      script: seccomp,
      says: [/^Seccomp:\t0$/m],
      notSays: [/not permitted/],
    },
    {
      name: "SC3: a profile of the node's that the Pod names filters its containers",
      spec: { securityContext: { seccompProfile: localhost("no-mkdir.json") } },
      script: seccomp,
      says: [/^Seccomp:\t2$/m, /mkdir: .*not permitted/, /^ended$/m],
      notSays: [/chmod: .*not permitted/],
    },
    {
      name: "SC3: a profile of the node's that the container names comes before the Pod's",
      spec: { securityContext: { seccompProfile: localhost("no-mkdir.json") } },
      main: { securityContext: { seccompProfile: localhost("no-chmod.json") } },
      script: seccomp,
      says: [/^Seccomp:\t2$/m, /chmod: .*not permitted/, /^ended$/m],
      notSays: [/mkdir: .*not permitted/],
    },
    {
      name: "SC3: a profile that the node does not have is told",
      main: { securityContext: { seccompProfile: localhost("none.json") } },
      script: seccomp,
      refused: /^(CreateContainerError|RunContainerError) .*none\.json/,
    },
    {
      name: "SC3 LC19: the runtime's AppArmor profile is enforced, or the Pod is refused",
      spec: { securityContext: { appArmorProfile: { type: "RuntimeDefault" } } },
      script: "cat /proc/self/attr/current",
      ...(hasAppArmor ? { says: [/\(enforce\)/] } : { refused: noAppArmor }),
    },
    {
      name: "SC3 LC19: an AppArmor profile of an annotation is enforced, or the Pod is refused",
      annotations: { "container.apparmor.security.beta.kubernetes.io/main": "localhost/keelson-none" },
      script: "cat /proc/self/attr/current",
      refused: hasAppArmor ? /^CreateContainerError .*profile "keelson-none" is not loaded/ : noAppArmor,
    },
    {
      name: "SC5: safe sysctls are set for the Pod",
      spec: {
        securityContext: {
          sysctls: [
            { name: "net.ipv4.ip_unprivileged_port_start", value: "7" },
            { name: "kernel/shm_rmid_forced", value: "1" },
          ],
        },
      },
      script:
        "cd /proc/sys; echo port $(cat net/ipv4/ip_unprivileged_port_start); echo shm $(cat kernel/shm_rmid_forced)",
      says: [/^port 7$/m, /^shm 1$/m],
    },
    {
      name: "SC5: an unsafe sysctl is set where the node allows it",
      spec: { securityContext: { sysctls: [{ name: "kernel.msgmax", value: "4096" }] } },
      script: "cat /proc/sys/kernel/msgmax",
      says: [/^4096$/m],
    },
    {
      name: "SC5: an unsafe sysctl is refused where the node does not allow it",
      spec: { securityContext: { sysctls: [{ name: "net.ipv4.ip_forward", value: "1" }] } },
      script: "true",
      refused: /^SysctlForbidden .*forbidden sysctl: "net\.ipv4\.ip_forward" not allowlisted/,
    },
    {
      name: "SC7: a Pod has namespaces of its own",
      script: spaces,
      says: [/^net:/m, /^pid:/m, /^ipc:/m, /^uts:/m],
      notSays: [hostNetns, space("pid"), space("ipc"), space("uts"), space("mnt")].map(literal),
    },
    {
      name: "SC7: hostNetwork is the host's network and name, and no more",
      spec: { hostNetwork: true },
      script: `${spaces}; hostname`,
      says: [literal(hostNetns), literal(readFileSync("/proc/sys/kernel/hostname", "utf8").trim())],
      notSays: [space("pid"), space("ipc"), space("mnt")].map(literal),
    },
    {
      name: "SC7: hostPID and hostIPC are the host's, and no more",
      spec: { hostPID: true, hostIPC: true },
      script: spaces,
      says: [space("pid"), space("ipc")].map(literal),
      notSays: [hostNetns, space("mnt")].map(literal),
    },
    {
      name: "SC7: containers of a Pod see each other's processes where they are shared",
      spec: {
        shareProcessNamespace: true,
        containers: [{ name: "other", command: ["/bin/sleep", "3611"] }],
      },
      script: "until ps | grep -q '[s]leep 3611'; do sleep 0.05; done; echo seen; echo pid $$$$",
      says: [/^seen$/m, /^pid ([2-9]|\d\d+)$/m],
    },
    {
      name: "SC7: containers of a Pod do not see each other's processes otherwise",
      spec: {
        containers: [{ name: "other", command: ["/bin/sleep", "3612"] }],
        volumes: [{ name: "v", emptyDir: {} }],
      },
      script: "ps; echo pid $$$$",
      says: [/^pid 1$/m],
      notSays: [/sleep 3612/],
    },
    {
      name: "EN5 HN1: the image's variables are below the Pod's, HOSTNAME is the Pod's",
      spec: { hostname: "db", subdomain: "data" },
      main: { env: [{ name: "COLOUR", value: "blue" }] },
      script: "env; echo name $(hostname)",
      says: [/^PATH=\/bin:\/usr\/bin$/m, /^COLOUR=blue$/m, /^HOSTNAME=db$/m, /^name db$/m],
    },
    {
      name: "RS8: a Pod has no more processes than the node lets it have",
      script:
        "i=0; while [ $i -lt 80 ]; do sleep 5 & i=$((i+1)); done; echo started; ls /proc | grep -c '^[0-9]'",
      says: [/can't fork/],
    },
    {
      name: "RS8 RS11: the Pod's cgroup has the limits of its containers and the overhead on top",
      spec: { ...volume("cgroup"), overhead: { cpu: "250m", memory: "16Mi" } },
      main: { ...mounted(), resources: { limits: { cpu: "200m", memory: "64Mi" } } },
      script: "touch /v/ready; until [ -e /v/done ]; do sleep 0.05; done; cat /v/limits",
      says: [/"cpuQuotaUs":45000\b/, /"memoryBytes":83886080\b/, /^64$/m],
      meanwhile: async (cgroup) => {
        await waitFor("it runs", () => existsSync(inHost("cgroup/ready")));
        const cgroups = await findCgroups();
        const pids = path.join(cgroups.controllers.get("pids") ?? "", cgroup(), "pids.max");
        const limits = JSON.stringify(await readCgroup(cgroups, cgroup()));
        await writeFile(inHost("cgroup/limits"), `${limits}\n${await readFile(pids, "utf8")}`);
        await writeFile(inHost("cgroup/done"), "");
      },
    },
    {
      name: "EN5: a variable of the Pod's comes before the image's",
      main: { env: [{ name: "PATH", value: "/bin" }], workingDir: "/var" },
      script: "echo $PATH; pwd",
      says: [/^\/bin$/m, /^\/var$/m],
    },
    {
      name: "LC1: a terminal is one, and what is none is none",
      main: { tty: true, stdin: true },
      spec: {
        initContainers: [{ name: "plain", command: ["/bin/sh", "-c", "! [ -t 0 ] && ! [ -t 1 ]"] }],
      },
      script: "[ -t 0 ] && echo terminal",
      says: [/^terminal$/m],
    },
    {
      name: "VO16: an image is mounted to be read only, nothing in it runs, and a part of it can be had",
      spec: { volumes: [{ name: "v", image: { reference: images.number, pullPolicy: "Never" } }] },
      main: {
        volumeMounts: [
          { name: "v", mountPath: "/v" },
          { name: "v", mountPath: "/users", subPath: "etc/passwd" },
        ],
      },
      script: "cat /v/etc/group /users; touch /v/x; /v/bin/busybox true; grep ' /v ' /proc/self/mounts",
      ...(imageVolumes
        ? {
            says: [
              /^team:x:50000:ada$/m,
              /^ada:x:1000:1000/m,
              /touch: .*Read-only file system/,
              /busybox: Permission denied/,
              / \/v overlay ro,nosuid,nodev,noexec/,
            ],
          }
        : { refused: /^CreateContainerError .*containerd 1\.\S+ cannot mount image/ }),
    },
    {
      name: "VO16: an image to mount that is not there and must not be pulled is told",
      spec: { volumes: [{ name: "v", image: { reference: "keelson.test/none:1", pullPolicy: "Never" } }] },
      main: { volumeMounts: [{ name: "v", mountPath: "/v" }] },
      script: "true",
      refused: /^ErrImageNeverPull /,
    },
    {
      name: "VO12: a read-only mount takes no file",
      spec: { volumes: [{ name: "v", emptyDir: {} }] },
      main: { volumeMounts: [{ name: "v", mountPath: "/v", readOnly: true }] },
      script: "touch /v/x; echo ended",
      says: [/Read-only file system/],
    },
    {
      name: "VO12: what the node mounts later does not reach a private mount",
      spec: volume("private"),
      main: mounted(),
      script: lookBelow,
      says: [/^looked$/m],
      notSays: [/^file$/m],
      meanwhile: mountBelow("private"),
    },
    {
      name: "VO12: what the node mounts later reaches the container with HostToContainer",
      spec: volume("slave"),
      main: mounted("HostToContainer"),
      script: lookBelow,
      says: [/^file$/m, /^looked$/m],
      meanwhile: mountBelow("slave"),
    },
    {
      name: "VO12: what the container mounts reaches the node with Bidirectional",
      spec: volume("both"),
      main: { ...mounted("Bidirectional"), securityContext: { privileged: true } },
      script:
        "mkdir /v/below; busybox mount -t tmpfs none /v/below; touch /v/below/file; until [ -e /v/done ]; do sleep 0.05; done; echo looked",
      says: [/^looked$/m],
      meanwhile: async () => {
        await waitFor("the node sees it", () => existsSync(inHost("both/below/file")));
        await run("mountpoint", "-q", inHost("both/below"));
        await writeFile(inHost("both/done"), "");
      },
    },
  ];
}
