import koffi from "koffi";

/**
 * The few libc calls that Node has no word for. Every one throws {@link LibcError} with errno's name.
 * koffi loads its prebuilt library without an install script; a call costs about 0.2 µs.
 */
const libc = koffi.load("libc.so.6");

const calls = {
  mount: libc.func(
    "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  ),
  umount2: libc.func("int umount2(const char *target, int flags)"),
  setns: libc.func("int setns(int fd, int nstype)"),
  unshare: libc.func("int unshare(int flags)"),
  socket: libc.func("int socket(int domain, int type, int protocol)"),
  bind: libc.func("int bind(int fd, const uint8_t *address, uint32_t length)"),
  setsockopt: libc.func(
    "int setsockopt(int fd, int level, int option, const uint8_t *value, uint32_t length)",
  ),
  sendto: libc.func(
    "long sendto(int fd, const uint8_t *data, size_t length, int flags, const uint8_t *address, uint32_t addressLength)",
  ),
  close: libc.func("int close(int fd)"),
  flock: libc.func("int flock(int fd, int operation)"),
  lseek: libc.func("long lseek(int fd, long offset, int whence)"),
};

/** Mount flags (sys/mount.h). */
export const MS = {
  rdonly: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  remount: 32,
  bind: 4_096,
  move: 8_192,
  rec: 16_384,
  private: 0x4_0000,
  slave: 0x8_0000,
  shared: 0x10_0000,
} as const;

/** Namespace flags (sched.h). */
export const CLONE = { newnet: 0x4000_0000, newns: 0x0002_0000 } as const;

/** A system call failed. `code` is errno's name, `ENOENT`. */
export class LibcError extends Error {
  override readonly name = "LibcError";
  readonly code: string;
  readonly errno: number;

  constructor(call: string, errno: number) {
    const code = Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
    super(`${call}: ${code}`);
    this.code = code;
    this.errno = errno;
  }
}

/** mount(2). `data` holds file system options such as `size=64k,mode=1777`. */
export function mount(source: string, target: string, type: string, flags: number, data = ""): void {
  check(
    `mount "${source}" on "${target}" as ${type === "" ? "bind" : type}`,
    calls.mount(source, target, type, flags, data),
  );
}

/**
 * umount2(2). A link that the path ends in is not followed: what is mounted elsewhere stays.
 * `lazy` detaches now and cleans up when nobody uses it any more.
 */
export function unmount(target: string, options: { readonly lazy?: boolean } = {}): void {
  const [detach, noFollow] = [2, 8];
  check(`unmount "${target}"`, calls.umount2(target, noFollow | (options.lazy === true ? detach : 0)));
}

/** setns(2): moves the calling thread. Only between two synchronous statements: nothing else may run in between. */
export function setns(fd: number, type: number): void {
  check("setns", calls.setns(fd, type));
}

/** unshare(2), for the calling thread. */
export function unshare(flags: number): void {
  check("unshare", calls.unshare(flags));
}

/** socket(2). @returns a file descriptor that the caller closes. */
export function socket(domain: number, type: number, protocol: number): number {
  return check("socket", calls.socket(domain, type, protocol));
}

/** bind(2) with a raw `sockaddr`. */
export function bind(fd: number, address: Uint8Array): void {
  check("bind", calls.bind(fd, address, address.length));
}

/** setsockopt(2) with an int value. */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const buffer = new Uint8Array(4);
  new DataView(buffer.buffer).setInt32(0, value, true);
  check("setsockopt", calls.setsockopt(fd, level, option, buffer, 4));
}

/** Makes read(2) on a socket give up with EAGAIN after `ms` milliseconds (SO_RCVTIMEO). */
export function setReceiveTimeout(fd: number, ms: number): void {
  const timeval = new Uint8Array(16);
  const view = new DataView(timeval.buffer);
  view.setBigInt64(0, BigInt(Math.floor(ms / 1_000)), true);
  view.setBigInt64(8, BigInt((ms % 1_000) * 1_000), true);
  check("setsockopt", calls.setsockopt(fd, 1, 20, timeval, timeval.length));
}

/** sendto(2) with a raw `sockaddr`: the systemd notify socket. */
export function sendTo(fd: number, data: Uint8Array, address: Uint8Array): number {
  return check("sendto", calls.sendto(fd, data, data.length, 0, address, address.length));
}

/** flock(2), exclusive: waits for whoever has it, and holds up the whole process meanwhile. Closing unlocks. */
export function lockFile(fd: number): void {
  check("flock", calls.flock(fd, 2));
}

/** lseek(2) to the end. */
export function seekToEnd(fd: number): void {
  check("lseek", calls.lseek(fd, 0, 2));
}

/** close(2), for descriptors that Node did not open. */
export function closeFd(fd: number): void {
  check("close", calls.close(fd));
}

function check(call: string, result: unknown): number {
  const value = Number(result);
  if (value < 0) throw new LibcError(call, koffi.errno());
  return value;
}
