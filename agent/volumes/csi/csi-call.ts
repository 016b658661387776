import type { CSIDriver } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { VolumeError, type VolumeRequest } from "../volume-plugin.ts";
import type { CsiDriver } from "./csi-driver.ts";
import type { CsiPorts } from "./csi-ports.ts";
import type { CsiVolume } from "./plan/csi-volume.ts";
import { podContext, tokenParameters, volumeCapability } from "./plan/csi-requests.ts";

/** Everything that is known of a volume before its driver is called. */
export interface CsiCall {
  readonly request: VolumeRequest;
  readonly volume: CsiVolume;
  readonly object: CSIDriver | undefined;
  readonly driver: CsiDriver;
  readonly capabilities: ReadonlySet<number>;
  readonly publishContext: Readonly<Record<string, string>>;
  /** Whether the driver prepares a volume once for all its Pods. */
  readonly stages: boolean;
  /** The SELinux label that it is mounted with; already one of the volume's mount options. */
  readonly label: string | undefined;
}

/** `NodeStageVolume`. */
export async function callStage(
  { request, volume, driver, capabilities, publishContext }: CsiCall,
  stagingTargetPath: string,
  { objects }: CsiPorts,
  signal: AbortSignal,
): Promise<void> {
  const secrets = await objects.secret(volume.stageSecret, "NodeStageSecretRef", signal);
  const { isBlock, fsGroup } = request;
  await driver.stage(
    {
      volumeId: volume.handle,
      publishContext,
      stagingTargetPath,
      volumeCapability: volumeCapability(volume, isBlock, capabilities, fsGroup),
      secrets,
      volumeContext: volume.attributes,
    },
    signal,
  );
}

/**
 * `NodePublishVolume`.
 * @param stagingTargetPath "" when the volume is not staged.
 */
export async function callPublish(
  call: CsiCall,
  stagingTargetPath: string,
  targetPath: string,
  ports: CsiPorts,
  signal: AbortSignal,
): Promise<void> {
  const { request, volume, object, driver, capabilities, publishContext } = call;
  const { pod, isBlock, fsGroup } = request;
  const secrets = await ports.objects.secret(volume.publishSecret, "NodePublishSecretRef", signal);
  // A device has no Pod of its own: the kubelet tells neither.
  const parameters = isBlock ? { context: {}, secrets: {} } : await tokensOf(call, ports, signal);
  await driver.publish(
    {
      volumeId: volume.handle,
      publishContext,
      stagingTargetPath,
      targetPath,
      volumeCapability: volumeCapability(volume, isBlock, capabilities, fsGroup),
      readonly: volume.readOnly,
      secrets: { ...secrets, ...parameters.secrets },
      volumeContext: {
        ...volume.attributes,
        ...(isBlock ? {} : podContext(pod, volume, object)),
        ...parameters.context,
      },
    },
    signal,
  );
}

async function tokensOf(
  { request: { pod }, object }: CsiCall,
  { tokens }: CsiPorts,
  signal: AbortSignal,
): Promise<ReturnType<typeof tokenParameters>> {
  const all = (object?.spec.tokenRequests ?? []).map(async ({ audience, expirationSeconds = 0 }) => ({
    audience,
    ...(await tokens.fresh(pod, audience, expirationSeconds, signal)),
  }));
  return tokenParameters(await Promise.all(all), object);
}

/** Runs one step; what fails in it is told under its name. */
export async function step<T>(operation: string, words: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof VolumeError) throw cause;
    throw new VolumeError(operation, `${words}${errorText(cause)}`, { cause });
  }
}
