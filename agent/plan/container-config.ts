import { createHash } from "node:crypto";
import type { Container, Pod, VolumeMount } from "#api/generated/kubernetes.ts";
import type { ContainerConfig, LinuxResources, Mount, NamespaceMode } from "../runtime/runtime.ts";
import { plain } from "./allocation.ts";
import { containerHash } from "./container-hash.ts";
import type { SpecContainer } from "./containers-of.ts";
import { expand } from "./expand.ts";
import { annotation, label } from "./names.ts";
import { recursiveReadOnly } from "./recursive-read-only.ts";
import { podLabels } from "./sandbox-config.ts";
import { containerSecurity, type ImageUser } from "./security-context.ts";

type Device = ContainerConfig["devices"][number];

/** What a container is configured from besides its spec. */
export interface ContainerInput {
  readonly attempt: number;
  readonly backoffMs: number;
  readonly imageRef: string;
  readonly env: readonly { readonly name: string; readonly value: string }[];
  /** In the order of `volumeMounts`: the path on the node, or an image for the runtime to mount. */
  readonly sources: readonly {
    readonly hostPath: string;
    readonly image?: string;
    readonly imageSubPath?: string;
  }[];
  /** In the order of `volumeDevices`: the device on the node. */
  readonly devices: readonly string[];
  /** Whether the Pod's runtime handler can make a mount read-only with all that is below it. */
  readonly recursiveReadOnlyMounts: boolean;
  /** "" where the container mounts the place itself. */
  readonly hostsFile: string;
  readonly terminationFile: string;
  readonly resources: LinuxResources;
  readonly imageUser: ImageUser;
  readonly seccompDefault: boolean;
  readonly seccompRoot: string;
  readonly pid: NamespaceMode;
}

/** Where the container writes its last words, unless it says otherwise. */
export const defaultTerminationPath = "/dev/termination-log";

/** What the runtime is asked to make for a container. @throws Error when a mount asks for what cannot be had. */
export function containerConfig(
  pod: Pod,
  { container }: SpecContainer,
  input: ContainerInput,
): ContainerConfig {
  const env = new Map(input.env.map(({ name, value }) => [name, value]));
  const lookup = (name: string): string | undefined => env.get(name);
  const terminationPath = container.terminationMessagePath ?? defaultTerminationPath;
  const stopSignal = container.lifecycle?.stopSignal;
  return {
    name: container.name,
    attempt: input.attempt,
    image: input.imageRef,
    userImage: container.image ?? "",
    command: (container.command ?? []).map((word) => expand(word, lookup)),
    args: (container.args ?? []).map((word) => expand(word, lookup)),
    workingDir: container.workingDir ?? "",
    env: input.env,
    mounts: [...volumeMounts(pod, container, input), ...ownMounts(container, terminationPath, input)],
    devices: volumeDevices(pod, container, input),
    labels: { ...podLabels(pod), [label.containerName]: container.name },
    annotations: {
      [annotation.containerHash]: containerHash(container),
      [annotation.resources]: JSON.stringify(plain(container.resources)),
      [annotation.backoffMs]: String(input.backoffMs),
      [annotation.restartCount]: String(input.attempt),
      [annotation.terminationPath]: terminationPath,
      [annotation.terminationPolicy]: container.terminationMessagePolicy ?? "File",
      [annotation.podGraceSeconds]: String(pod.spec?.terminationGracePeriodSeconds ?? 30),
      ...(container.ports === undefined ? {} : { [annotation.ports]: JSON.stringify(container.ports) }),
    },
    logPath: `${container.name}/${input.attempt}.log`,
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    tty: container.tty === true,
    ...(stopSignal === undefined ? {} : { stopSignal }),
    resources: input.resources,
    security: containerSecurity(pod, container, input.imageUser, input.seccompDefault, input.seccompRoot),
    pid: input.pid,
  };
}

/** The file a container's last words are read from; found again without memory. */
export function terminationFileName(podUid: string, container: string, attempt: number): string {
  return createHash("sha256").update(`${podUid}/${container}/${attempt}`).digest("hex").slice(0, 8);
}

/** Whether the agent gives this container its `/etc/hosts`. */
export function wantsHostsFile(container: Container): boolean {
  return !(container.volumeMounts ?? []).some(({ mountPath }) => mountPath === "/etc/hosts");
}

/** Volumes that the agent or the runtime fills are read-only for containers, as is a claim or a source that says so. */
function isReadOnly(pod: Pod, name: string): boolean {
  const volume = pod.spec?.volumes?.find((one) => one.name === name);
  if (volume?.persistentVolumeClaim !== undefined) return volume.persistentVolumeClaim.readOnly === true;
  if ([volume?.csi, volume?.nfs, volume?.iscsi].some((source) => source?.readOnly === true)) return true;
  return [volume?.configMap, volume?.secret, volume?.downwardAPI, volume?.projected, volume?.image].some(
    (source) => source !== undefined,
  );
}

function volumeMounts(
  pod: Pod,
  container: Container,
  { sources, recursiveReadOnlyMounts }: ContainerInput,
): readonly Mount[] {
  return (container.volumeMounts ?? []).flatMap((mount, place) => {
    const source = sources[place];
    if (source === undefined) return [];
    return [
      {
        hostPath: source.hostPath,
        containerPath: absolute(mount.mountPath),
        readonly: mount.readOnly === true || isReadOnly(pod, mount.name),
        recursiveReadonly: recursiveReadOnly(mount, recursiveReadOnlyMounts),
        propagation: propagationOf(mount),
        selinuxRelabel: false,
        ...(source.image === undefined ? {} : { image: source.image }),
        ...(source.imageSubPath === undefined ? {} : { imageSubPath: source.imageSubPath }),
      },
    ];
  });
}

/** Block volumes: a claim that the Pod has for reading is a device that cannot be written. */
function volumeDevices(pod: Pod, container: Container, { devices }: ContainerInput): readonly Device[] {
  return (container.volumeDevices ?? []).flatMap(({ name, devicePath }, place) => {
    const hostPath = devices[place];
    if (hostPath === undefined) return [];
    return [
      {
        hostPath,
        containerPath: absolute(devicePath),
        permissions: isReadOnly(pod, name) ? "r" : "mrw",
      },
    ];
  });
}

function ownMounts(
  container: Container,
  terminationPath: string,
  { hostsFile, terminationFile }: ContainerInput,
): readonly Mount[] {
  const plain = {
    readonly: false,
    recursiveReadonly: false,
    propagation: "private",
    selinuxRelabel: false,
  } as const;
  return [
    ...(hostsFile !== "" && wantsHostsFile(container)
      ? [{ ...plain, hostPath: hostsFile, containerPath: "/etc/hosts" }]
      : []),
    ...(terminationFile === ""
      ? []
      : [{ ...plain, hostPath: terminationFile, containerPath: terminationPath }]),
  ];
}

function propagationOf({ mountPropagation }: VolumeMount): Mount["propagation"] {
  if (mountPropagation === "Bidirectional") return "rshared";
  return mountPropagation === "HostToContainer" ? "rslave" : "private";
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `/${path}`;
}
