import type { ISCSIPersistentVolumeSource, ISCSIVolumeSource } from "#api/generated/kubernetes.ts";

/** An iSCSI disk as a volume names it, with what is left out filled in. */
export interface IscsiDisk {
  /** With ports, the first one first. */
  readonly portals: readonly string[];
  readonly iqn: string;
  readonly lun: number;
  /** The interface of the initiator; `default` is plain TCP. */
  readonly iface: string;
  /** "" for the node's own. */
  readonly initiator: string;
  /** The interface that one with another initiator name is made like. */
  readonly basedOn: string;
  readonly fsType: string;
  readonly readOnly: boolean;
  readonly chap: { readonly discovery: boolean; readonly session: boolean };
}

/** Names and passwords of CHAP by their keys in the Secret (`node.session.auth.username`). */
export type ChapSecrets = ReadonlyMap<string, string>;

/** One call of iscsiadm(8). */
export type IscsiCall = readonly string[];

const port = 3_260;

/** @param volume the PersistentVolume's name, or the volume's in the Pod: an interface of its own is called by it. */
export function iscsiDisk(
  source: ISCSIVolumeSource | ISCSIPersistentVolumeSource,
  volume: string,
): IscsiDisk {
  const portals = [source.targetPortal, ...(source.portals ?? [])].map(withPort);
  const basedOn = source.iscsiInterface ?? "default";
  const initiator = source.initiatorName ?? "";
  return {
    portals: [...new Set(portals)],
    iqn: source.iqn,
    lun: source.lun,
    iface: initiator === "" ? basedOn : `${withPort(source.targetPortal)}:${volume}`,
    initiator,
    basedOn,
    fsType: source.fsType ?? "",
    readOnly: source.readOnly === true,
    chap: { discovery: source.chapAuthDiscovery === true, session: source.chapAuthSession === true },
  };
}

/** Where the file system is mounted for all Pods, below the plugin's directory; told apart again by {@link parseDiskName}. */
export function iscsiDiskName({ portals, iqn, lun, iface }: IscsiDisk): string {
  return `iface-${iface}/${portals[0] ?? ""}-${iqn}-lun-${lun}`;
}

/** The target of a name made by {@link iscsiDiskName} or of a link by udev; undefined for any other. */
export function parseDiskName(name: string): { readonly iqn: string; readonly lun: number } | undefined {
  const found = /-((?:iqn|eui|naa)\..*)-lun-(\d+)$/.exec(name);
  return found === null ? undefined : { iqn: found[1] ?? "", lun: Number(found[2]) };
}

/** The link that udev makes for the disk (systemd's `60-persistent-storage.rules`). */
export function iscsiLink(portal: string, { iqn, lun }: IscsiDisk): string {
  return `ip-${portal}-iscsi-${iqn}-lun-${lun}`;
}

/** Makes an interface with the volume's initiator name, like the one that it is based on. */
export function interfaceCalls(
  { iface, basedOn, initiator }: IscsiDisk,
  shown: string,
): readonly IscsiCall[] {
  if (initiator === "") return [];
  const settings = shown
    .split("\n")
    .map((line) => /^(iface\.[\w.]+) = (.*)$/.exec(line.trim()))
    .flatMap((found) => (found === null || found[2] === "<empty>" ? [] : [[found[1] ?? "", found[2] ?? ""]]))
    .filter(([key]) => key !== "iface.iscsi_ifacename" && key !== "iface.initiatorname");
  if (shown !== "" && settings.length === 0)
    throw new Error(`iscsi: cannot read the settings of interface ${basedOn}`);
  return [
    ["-m", "iface", "-I", iface, "-o", "new"],
    ...[...settings, ["iface.initiatorname", initiator]].map(([key = "", value = ""]) => [
      "-m",
      "iface",
      "-I",
      iface,
      "-o",
      "update",
      "-n",
      key,
      "-v",
      value,
    ]),
  ];
}

/** Asks a portal for its targets. */
export function discoveryCalls(portal: string, disk: IscsiDisk, secrets: ChapSecrets): readonly IscsiCall[] {
  const start = ["-m", "discoverydb", "-t", "sendtargets", "-p", portal, "-I", disk.iface];
  return [
    [...start, "-o", "new"],
    ...(disk.chap.discovery ? chapCalls(start, "discovery.sendtargets.auth", secrets) : []),
    [...start, "--discover"],
  ];
}

/** Logs in to the target at a portal, and leaves it alone when the node starts anew: the agent logs in itself. */
export function loginCalls(portal: string, disk: IscsiDisk, secrets: ChapSecrets): readonly IscsiCall[] {
  const node = ["-m", "node", "-p", portal, "-T", disk.iqn, "-I", disk.iface];
  return [
    ...(disk.chap.session ? chapCalls(node, "node.session.auth", secrets) : []),
    [...node, "-o", "update", "-n", "node.startup", "-v", "manual"],
    [...node, "--login"],
  ];
}

/** Logs out of a target at a portal and forgets it. */
export function logoutCalls(portal: string, iqn: string): readonly IscsiCall[] {
  const node = ["-m", "node", "-p", portal, "-T", iqn];
  return [
    [...node, "--logout"],
    [...node, "-o", "delete"],
  ];
}

/** The portals at which this node has a session with a target, from what `iscsiadm -m session` says. */
export function sessionPortals(said: string, iqn: string): readonly string[] {
  return said.split("\n").flatMap((line) => {
    const found = /^\S+: \[\d+\] (\S+),\d+ (\S+)/.exec(line);
    return found !== null && found[2] === iqn ? [found[1] ?? ""] : [];
  });
}

/** @throws Error that names the key that is missing. */
function chapCalls(start: IscsiCall, prefix: string, secrets: ChapSecrets): readonly IscsiCall[] {
  const set = (key: string, value: string): IscsiCall => [...start, "-o", "update", "-n", key, "-v", value];
  const calls = [set(`${prefix}.authmethod`, "CHAP")];
  for (const name of ["username", "password", "username_in", "password_in"]) {
    const value = secrets.get(`${prefix}.${name}`);
    if (value !== undefined) calls.push(set(`${prefix}.${name}`, value));
    else if (!name.endsWith("_in")) throw new Error(`iscsi: the CHAP secret has no key "${prefix}.${name}"`);
  }
  return calls;
}

function withPort(portal: string): string {
  const hasPort = portal.startsWith("[") ? portal.includes("]:") : /:\d+$/.test(portal);
  return hasPort ? portal : `${portal}:${port}`;
}
