import type { Container, Pod, SeccompProfile } from "#api/generated/kubernetes.ts";
import type { SecurityContext, SecurityProfile } from "../runtime/runtime.ts";
import { appArmorProfile } from "./apparmor.ts";

const maskedPaths = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const readonlyPaths = [
  "/proc/asound",
  "/proc/bus",
  "/proc/fs",
  "/proc/irq",
  "/proc/sys",
  "/proc/sysrq-trigger",
];

/** The user of an image, as the runtime tells it. */
export interface ImageUser {
  readonly uid?: number;
  readonly name?: string;
}

/**
 * What the kernel is told about a container's process: the container's word before the Pod's.
 * @param image its user goes with a group that the Pod gives without one.
 */
export function containerSecurity(
  pod: Pod,
  container: Container,
  image: ImageUser,
  seccompDefault: boolean,
  seccompRoot: string,
): SecurityContext {
  const own = container.securityContext ?? {};
  const shared = pod.spec?.securityContext ?? {};
  const runAsUser = own.runAsUser ?? shared.runAsUser;
  const runAsGroup = own.runAsGroup ?? shared.runAsGroup;
  const groups = [
    ...(shared.fsGroup === undefined ? [] : [shared.fsGroup]),
    ...(shared.supplementalGroups ?? []),
  ];
  const privileged = own.privileged === true;
  const seccomp =
    seccompOf(own.seccompProfile ?? shared.seccompProfile, seccompRoot) ??
    (seccompDefault ? ({ type: "RuntimeDefault" } as const) : ({ type: "Unconfined" } as const));
  const apparmor = appArmorProfile(pod, container);
  const selinux = own.seLinuxOptions ?? shared.seLinuxOptions;
  const unmasked = own.procMount === "Unmasked" || privileged;
  return {
    privileged,
    ...(runAsUser === undefined ? (runAsGroup === undefined ? {} : userOf(image)) : { runAsUser }),
    ...(runAsGroup === undefined ? {} : { runAsGroup }),
    ...(groups.length === 0 ? {} : { supplementalGroups: groups }),
    ...(shared.supplementalGroupsPolicy === "Strict" ? { strictGroups: true } : {}),
    readonlyRootfs: own.readOnlyRootFilesystem === true,
    noNewPrivileges: own.allowPrivilegeEscalation === false,
    addCapabilities: (own.capabilities?.add ?? []).map(capability),
    dropCapabilities: (own.capabilities?.drop ?? []).map(capability),
    seccomp: privileged ? { type: "Unconfined" } : seccomp,
    ...(apparmor === undefined ? {} : { apparmor: profile(apparmor.type, apparmor.localhostProfile ?? "") }),
    ...(selinux === undefined ? {} : { selinux }),
    maskedPaths: unmasked ? [] : maskedPaths,
    readonlyPaths: unmasked ? [] : readonlyPaths,
  };
}

/** A group alone is refused by runtimes, or lost: it goes with the image's own user. */
function userOf({ uid, name }: ImageUser): Pick<SecurityContext, "runAsUser" | "runAsUserName"> {
  if (uid !== undefined) return { runAsUser: uid };
  return name === undefined || name === "" ? { runAsUser: 0 } : { runAsUserName: name };
}

/** Why a container may not run as the user it would get; undefined when it may. */
export function rootRefusal(pod: Pod, container: Container, image: ImageUser): string | undefined {
  const own = container.securityContext ?? {};
  const shared = pod.spec?.securityContext ?? {};
  if ((own.runAsNonRoot ?? shared.runAsNonRoot) !== true) return undefined;
  const where = `(pod: "${pod.metadata?.name}_${pod.metadata?.namespace}(${pod.metadata?.uid})", container: ${container.name})`;
  const user = own.runAsUser ?? shared.runAsUser;
  if (user !== undefined)
    return user === 0 ? `container's runAsUser breaks non-root policy ${where}` : undefined;
  if (image.uid === undefined && image.name !== undefined && image.name !== "") {
    return `container has runAsNonRoot and image has non-numeric user (${image.name}), cannot verify user is non-root ${where}`;
  }
  if ((image.uid ?? 0) === 0) return `container has runAsNonRoot and image will run as root ${where}`;
  return undefined;
}

/**
 * The sandbox's own process. Its seccomp profile is the runtime's, as the kubelet's: one that the Pod names is for
 * its containers, and need not allow what holding namespaces takes.
 */
export function sandboxSecurity(pod: Pod): SecurityContext {
  const shared = pod.spec?.securityContext ?? {};
  const privileged = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].some(
    (container) => container.securityContext?.privileged === true,
  );
  const groups = [
    ...(shared.fsGroup === undefined ? [] : [shared.fsGroup]),
    ...(shared.supplementalGroups ?? []),
  ];
  return {
    privileged,
    ...(shared.runAsUser === undefined ? {} : { runAsUser: shared.runAsUser }),
    ...(shared.runAsGroup === undefined || shared.runAsUser === undefined
      ? {}
      : { runAsGroup: shared.runAsGroup }),
    ...(groups.length === 0 ? {} : { supplementalGroups: groups }),
    ...(shared.supplementalGroupsPolicy === "Strict" ? { strictGroups: true } : {}),
    ...(shared.seLinuxOptions === undefined ? {} : { selinux: shared.seLinuxOptions }),
    seccomp: { type: "RuntimeDefault" },
  };
}

/** As CRI has it, without the kernel's prefix: containerd passes over what it does not know. */
function capability(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, "");
}

function seccompOf(wanted: SeccompProfile | undefined, root: string): SecurityProfile | undefined {
  return wanted === undefined ? undefined : profile(wanted.type, `${root}/${wanted.localhostProfile ?? ""}`);
}

function profile(type: string, ref: string): SecurityProfile {
  if (type === "RuntimeDefault" || type === "Unconfined") return { type };
  return { type: "Localhost", ref };
}
