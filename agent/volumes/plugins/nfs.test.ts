import { lstat, mkdir, readFile, stat } from "node:fs/promises";
import t from "tap";
import { mountPointsBelow, mountTmpfs } from "#linux/mount.ts";
import { standInPrograms } from "../../../test/support/stand-in-programs.ts";
import { mountArguments } from "../mount-program.ts";
import { mountFolder, needsRoot as skip, volumeRequest } from "../volume-fixture.ts";
import { nfsMount, nfsPlugin } from "./nfs.ts";

const { signal } = new AbortController();
const server = { server: "nfs.example", path: "/exports/a" };

t.test("VO1: an NFS volume is what mount(8) is asked for", async (t) => {
  const cases: readonly {
    readonly name: string;
    readonly nfs?: Partial<Parameters<typeof nfsMount>[0]>;
    readonly readOnly?: boolean;
    readonly mountOptions?: readonly string[];
    readonly is: readonly string[];
  }[] = [
    { name: "plain", is: ["-t", "nfs", "nfs.example:/exports/a", "/target"] },
    {
      name: "the volume is read-only",
      nfs: { readOnly: true },
      is: ["-t", "nfs", "-o", "ro", "nfs.example:/exports/a", "/target"],
    },
    {
      name: "the claim is read-only, and there are options, one of them twice",
      readOnly: true,
      mountOptions: ["vers=4.1", "hard", "hard"],
      is: ["-t", "nfs", "-o", "hard,ro,vers=4.1", "nfs.example:/exports/a", "/target"],
    },
    {
      name: "an IPv6 address",
      nfs: { server: "fd00::1" },
      is: ["-t", "nfs", "[fd00::1]:/exports/a", "/target"],
    },
  ];
  for (const { name, nfs = {}, readOnly = false, mountOptions = [], is } of cases)
    t.same(
      mountArguments(nfsMount({ ...server, ...nfs }, "/target", { readOnly, mountOptions })),
      [is],
      name,
    );
});

t.test(
  "VO1: an NFS volume that cannot be mounted says why, and what is missing on the node",
  { skip },
  async (t) => {
    const folder = await mountFolder(t);
    await standInPrograms(t, folder, { mount: "echo 'mount: unknown filesystem type' >&2; exit 32" });
    const request = volumeRequest(folder, nfsPlugin, { nfs: server });
    const { directory } = request.place;
    await t.rejects(nfsPlugin.setUp(request, signal), {
      message: [
        "mount failed: exit status 32",
        "Mounting command: mount",
        `Mounting arguments: -t nfs nfs.example:/exports/a ${directory}`,
        "Output: mount: unknown filesystem type",
        "mount.nfs is not on this node: install nfs-common or nfs-utils",
      ].join("\n"),
    });
    await t.rejects(stat(directory), { code: "ENOENT" });
    await t.rejects(nfsPlugin.setUp({ ...request, isBlock: true }, signal), {
      message: "an NFS volume has no block device",
    });
  },
);

t.test(
  "VO1: an NFS volume that is mounted is left alone, and taken down without memory",
  { skip },
  async (t) => {
    const folder = await mountFolder(t);
    await standInPrograms(t, folder, {
      mount: `echo "$@" >>${folder}/calls; exec /usr/bin/mount -t tmpfs none "$4"`,
    });
    const request = volumeRequest(folder, nfsPlugin, { persistent: { nfs: server } });
    const { directory } = request.place;
    t.equal(directory, `${folder}/pods/u1/volumes/kubernetes.io~nfs/pv`);
    t.same(await nfsPlugin.setUp(request, signal), { hostPath: directory });
    await nfsPlugin.setUp(request, signal);
    t.equal(
      await readFile(`${folder}/calls`, "utf8"),
      `-t nfs nfs.example:/exports/a ${directory}\n`,
      "mounted once",
    );
    await nfsPlugin.tearDown(request.place, signal);
    await nfsPlugin.tearDown(request.place, signal);
    t.same(await mountPointsBelow(folder), []);
    await t.rejects(lstat(directory), { code: "ENOENT" });
  },
);

t.test(
  "VO1: a server that does not answer holds up its own Pod alone",
  { skip, timeout: 60_000 },
  async (t) => {
    const folder = await mountFolder(t);
    await standInPrograms(t, folder, { mount: "sleep 1000" });
    const request = volumeRequest(folder, nfsPlugin, { nfs: server });
    const stop = new AbortController();
    const mounting = nfsPlugin.setUp(request, stop.signal);
    let turns = 0;
    for (; turns < 1_000; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    t.equal(turns, 1_000, "the agent goes on meanwhile");
    stop.abort(new Error("the Pod ends"));
    await t.rejects(mounting, { message: "the Pod ends" });

    await mkdir(request.place.directory, { recursive: true });
    mountTmpfs(request.place.directory, "size=64k");
    await nfsPlugin.tearDown(request.place, signal);
    t.same(await mountPointsBelow(folder), []);
  },
);
