import { type BuiltImage, manifestMediaType } from "../image-tar.ts";
import { RuntimeError } from "../runtime.ts";
import type { Method } from "../../grpc/grpc-channel.ts";
import type { Channel } from "./channel.ts";

const write: Method = {
  path: "/containerd.services.content.v1.Content/Write",
  request: "containerd.services.content.v1.WriteContentRequest",
  response: "containerd.services.content.v1.WriteContentResponse",
};
const create: Method = {
  path: "/containerd.services.images.v1.Images/Create",
  request: "containerd.services.images.v1.CreateImageRequest",
  response: "Empty",
};
const lease: Method = {
  path: "/containerd.services.leases.v1.Leases/Create",
  request: "containerd.services.leases.v1.CreateRequest",
  response: "Empty",
};
const endLease: Method = {
  path: "/containerd.services.leases.v1.Leases/Delete",
  request: "containerd.services.leases.v1.DeleteRequest",
  response: "Empty",
};
const inKubernetesNamespace = { "containerd-namespace": "k8s.io" };
const commit = 2;
const timeoutMs = 30_000;
const leaseMs = 600_000;

/**
 * Puts an image into containerd under a name, through its content and image services (`ctr images import` does
 * the same). An image of that name that is already there stays.
 */
export async function importImage(
  channel: Channel,
  image: BuiltImage,
  reference: string,
  signal: AbortSignal,
): Promise<void> {
  // Without a lease the garbage collector takes each blob before the next one refers to it.
  const id = `keelson-${image.manifestDigest}`;
  const expires = new Date(Date.now() + leaseMs).toISOString();
  const labels = { "containerd.io/gc.expire": expires };
  await unlessThere(channel.call(lease, { id, labels }, timeoutMs, signal, inKubernetesNamespace));
  const headers = { ...inKubernetesNamespace, "containerd-lease": id };
  await writeBlob(channel, image.layer, image.layerDigest, {}, headers, signal);
  await writeBlob(channel, image.config, image.configDigest, {}, headers, signal);
  // The collector follows these labels from the manifest to what it needs.
  const references = {
    "containerd.io/gc.ref.content.config": image.configDigest,
    "containerd.io/gc.ref.content.l.0": image.layerDigest,
  };
  await writeBlob(channel, image.manifest, image.manifestDigest, references, headers, signal);
  const target = { mediaType: manifestMediaType, digest: image.manifestDigest, size: image.manifest.length };
  const named = { name: reference, labels: { "io.cri-containerd.image": "managed" }, target };
  await unlessThere(channel.call(create, { image: named }, timeoutMs, signal, headers));
  await channel.call(endLease, { id }, timeoutMs, signal, inKubernetesNamespace);
}

async function writeBlob(
  channel: Channel,
  data: Buffer,
  digest: string,
  labels: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  const ref = `keelson-${digest}`;
  const message = { action: commit, ref, total: data.length, expected: digest, offset: 0, data, labels };
  await unlessThere(channel.exchange(write, [message], signal, headers));
}

async function unlessThere(written: Promise<unknown>): Promise<void> {
  try {
    await written;
  } catch (cause) {
    if (!(cause instanceof RuntimeError && cause.code === "exists")) throw cause;
  }
}
