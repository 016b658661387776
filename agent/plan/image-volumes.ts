import type { Pod } from "#api/generated/kubernetes.ts";
import type { SpecContainer } from "./containers-of.ts";

/** Under which name the image of a volume is known that a container mounts: no container's name has a slash. */
export function volumeImageKey(container: string, volume: string): string {
  return `${container}/${volume}`;
}

/** The images that a container mounts as volumes, each like a container of its own: so they are pulled (KEP-4639). */
export function imageVolumes(pod: Pod, { kind, container }: SpecContainer): readonly SpecContainer[] {
  const mounted = new Set((container.volumeMounts ?? []).map(({ name }) => name));
  return (pod.spec?.volumes ?? []).flatMap(({ name, image }) =>
    image === undefined || !mounted.has(name)
      ? []
      : [
          {
            kind,
            container: {
              name: volumeImageKey(container.name, name),
              image: image.reference ?? "",
              ...(image.pullPolicy === undefined ? {} : { imagePullPolicy: image.pullPolicy }),
            },
          },
        ],
  );
}

/** Whether an image that is known under this name is one that the container runs or mounts. */
export function isImageOf(container: string, key: string): boolean {
  return key === container || key.startsWith(`${container}/`);
}
