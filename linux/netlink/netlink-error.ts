import { getSystemErrorName } from "node:util";

/** The kernel refused a request. `code` is errno's name: `EEXIST`, `ENODEV`. */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  readonly code: string;
  readonly errno: number;

  /**
   * @param doing for the message: `create link "cni0"`.
   * @param detail the kernel's own words (extended ack), "" when it said none.
   */
  constructor(doing: string, errno: number, detail: string, options?: ErrorOptions) {
    const code = getSystemErrorName(-errno);
    super(`cannot ${doing}: ${code}${detail === "" ? "" : `: ${detail}`}`, options);
    this.code = code;
    this.errno = errno;
  }
}

/** True for a NetlinkError with one of these codes. */
export function isNetlinkError(cause: unknown, ...codes: readonly string[]): cause is NetlinkError {
  return cause instanceof NetlinkError && codes.includes(cause.code);
}
